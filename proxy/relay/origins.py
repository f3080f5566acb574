"""Where the configured providers are, and how connections to them are made."""

from __future__ import annotations

from proxy.config import ConfigError, Problem, ProviderConfig
from proxy.relay.origin import Origin, Tls, read_origin, tls_context


class Origins:
    """Where each provider is. Remembered by id: asked for on every request."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[ProviderConfig, Origin]] = {}

    def __call__(self, provider: ProviderConfig) -> Origin:
        known = self._known.get(provider.id)
        if known is not None and known[0] is provider:
            return known[1]
        origin = origin_of(provider)
        self._known[provider.id] = (provider, origin)
        return origin

    def forget(self) -> None:
        """Look at all of them anew: files of certificates may hold others now."""
        self._known.clear()


def origin_of(provider: ProviderConfig) -> Origin:
    """Where a provider is, and how connections to it are made."""
    tls = provider.tls
    options = Tls(tls.verify, tls.ca_file, tls.cert_file, tls.key_file)
    return read_origin(provider.base_url, options.stamped(), provider.proxy)


def check_tls(provider: ProviderConfig) -> None:
    """Raises ConfigError where a provider's files of certificates cannot be used."""
    origin = origin_of(provider)
    if not origin.tls.stamps:
        return
    try:
        tls_context(origin.tls)
    except OSError as error:  # ssl.SSLError is one
        why = getattr(error, "reason", None) or error.strerror or "unknown reason"
        said = f"the files of provider {provider.id!r} cannot be used: {why}"
        raise ConfigError([Problem(None, None, "providers.tls", said)]) from error
