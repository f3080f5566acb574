"""Makes the keyring, where somebody wants one.

It loads what reads tokens, memory and time that a gateway without keys shall not spend.
Hence the import inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.config import Config
from proxy.core.call import Fetch

if TYPE_CHECKING:
    from proxy.auth.keyring import Keyring


class NoKeys(Exception):
    """The keys cannot be read, so that nobody could be let in."""


def make_keyring(config: Config, fetch: Fetch) -> Keyring:
    """Answer the keyring, still to be opened.

    Raises ValueError for a token secret that could be guessed.
    """
    from proxy.auth.keyring import Keyring

    return Keyring(config, fetch)
