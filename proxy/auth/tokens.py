"""Opens the reader of tokens, where the configuration wants one.

PyJWT loads cryptography: 9 MiB and 60 ms, which a gateway without tokens shall not
spend. Hence the import inside.
"""

from __future__ import annotations

from proxy.auth.authenticate import Tokens
from proxy.config.schema_policy import JwtConfig
from proxy.core.call import Fetch


def open_tokens(config: JwtConfig, fetch: Fetch) -> Tokens | None:
    """Answer what reads tokens issued elsewhere; None when none are accepted.

    Raises ValueError for a secret that could be guessed.
    """
    if not config.secret and not config.jwks_url:
        return None
    from proxy.auth.jwt import Jwt

    return Jwt(config, fetch)
