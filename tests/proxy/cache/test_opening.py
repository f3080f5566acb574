from __future__ import annotations

from proxy.cache.opening import open_cache
from proxy.cache.responses import MemoryReplies
from proxy.cache.shared import SharedReplies
from proxy.config import Config
from proxy.config.schema_models import ModelConfig
from proxy.config.schema_policy import CacheConfig
from proxy.state.base import Blobs
from tests.proxy.cache.test_shared import FakeBlobs


def store_of(config: Config, blobs: Blobs | None) -> object:
    cache = open_cache(config, blobs)
    assert cache is not None
    return cache._store


def test_it_is_off_unless_it_is_turned_on() -> None:
    assert open_cache(Config(), FakeBlobs()) is None


def test_it_is_in_memory_unless_the_state_is_shared() -> None:
    config = Config(cache=CacheConfig(enabled=True))
    assert isinstance(store_of(config, None), MemoryReplies)
    assert isinstance(store_of(config, FakeBlobs()), SharedReplies)


def test_other_configurations_find_nothing_of_each_other() -> None:
    def name(config: Config) -> str:
        store = store_of(config, FakeBlobs())
        assert isinstance(store, SharedReplies)
        return store._name(b"k")

    cache = CacheConfig(enabled=True)
    models = (ModelConfig(id="m", provider_id="box"),)
    assert name(Config(cache=cache)) == name(Config(cache=cache))
    assert name(Config(cache=cache)) != name(Config(cache=cache, models=models))
