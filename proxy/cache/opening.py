"""Opens the cache that a configuration asks for: shared where the state is."""

from __future__ import annotations

from hashlib import sha256

from proxy import __version__
from proxy.cache.responses import MemoryReplies, ResponseCache
from proxy.cache.shared import SharedReplies
from proxy.config import Config
from proxy.state.base import Blobs


def open_cache(config: Config, blobs: Blobs | None) -> ResponseCache | None:
    """Answer a cache, in memory without `blobs`; None where none is wanted."""
    cache = config.cache
    if not cache.enabled:
        return None
    if blobs is None:
        return ResponseCache(MemoryReplies(cache.max_bytes, cache.ttl_seconds))
    made_by = _fingerprint(config)
    return ResponseCache(
        SharedReplies(blobs, made_by, cache.max_bytes, cache.ttl_seconds)
    )


def _fingerprint(config: Config) -> str:
    """Name what answers depend on; secrets have no part in how it is spelled."""
    spelled = repr((__version__, config.cache, config.models, config.providers))
    return sha256(spelled.encode()).hexdigest()[:16]
