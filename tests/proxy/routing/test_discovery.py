from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from proxy.config import Config, ProviderConfig, found_provider
from proxy.config.schema import DiscoveryConfig
from proxy.core.tasks import Tasks
from proxy.routing.discovery import GATEWAY_NAME, Discovery
from proxy.routing.registry import Registry, Status
from tests.fakes.fetch import Clock, World, answer
from tests.fakes.kinds import KINDS

OLLAMA = "http://127.0.0.1:11434"
EIGHT = "http://127.0.0.1:8000"
OWN = ("127.0.0.1", 3500)


class Bench:
    def __init__(
        self, tasks: Tasks, config: Config, own: tuple[str, int] = OWN
    ) -> None:
        self.world, self.clock = World(), Clock()
        self.registry = Registry(config.providers, KINDS)
        self.discovery = Discovery(
            self.registry,
            lambda _: self.world,
            tasks,
            config,
            own,
            now=self.clock,
            jitter=lambda: 0.0,
        )

    async def look(self) -> None:
        await self.discovery.look_now(limit_s=10.0)

    def states(self) -> Mapping[str, Status]:
        return {p.id: p.status for p in self.registry.providers}


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    faults: list[BaseException] = []
    async with Tasks(faults.append) as group:
        yield group
    assert faults == []


def config(**more: Any) -> Config:
    return Config(**more)


def file_provider(endpoint: str, kind: str = "ollama") -> ProviderConfig:
    return ProviderConfig(id="mine", kind=kind, endpoint=endpoint)


async def test_finds_a_local_server_on_its_usual_port(tasks: Tasks) -> None:
    at = Bench(tasks, config())
    at.world.serve(OLLAMA, "ollama", "llama3")
    await at.discovery.first_look()
    (found,) = at.registry.providers
    assert (found.id, found.kind, found.status) == ("ollama", "ollama", Status.ONLINE)
    assert found.config.name == "Ollama"
    assert found.config.discovered
    assert [m.id for m in found.models] == ["llama3"]


async def test_a_port_of_two_kinds_goes_to_the_kind_that_answers(tasks: Tasks) -> None:
    at = Bench(tasks, config())
    at.world.serve(EIGHT, "llamacpp", "tiny")
    await at.look()
    assert at.states() == {"llamacpp": Status.ONLINE}


async def test_a_server_that_answers_anything_is_not_taken(tasks: Tasks) -> None:
    at = Bench(tasks, config())
    at.world.answers[OLLAMA + "/list"] = answer({"ok": True})
    at.world.answers[EIGHT + "/list"] = answer(b"<html>hello</html>")
    await at.look()
    assert at.states() == {}


async def test_asks_only_loopback_and_only_the_listing(tasks: Tasks) -> None:
    at = Bench(tasks, config())
    await at.look()
    assert sorted(at.world.urls()) == sorted(
        [
            OLLAMA + "/list",
            EIGHT + "/list",
            EIGHT + "/list",
            "http://127.0.0.1:8080/list",
        ]
    )


@pytest.mark.parametrize(
    "own",
    [("127.0.0.1", 11434), ("0.0.0.0", 11434), ("::", 11434), ("localhost", 11434)],
)
async def test_never_takes_itself_for_a_provider(
    tasks: Tasks, own: tuple[str, int]
) -> None:
    at = Bench(tasks, config(), own)
    at.world.serve(OLLAMA, "ollama", "llama3")
    await at.look()
    assert OLLAMA + "/list" not in at.world.urls()
    assert at.states() == {}


async def test_own_port_on_another_interface_is_no_reason_to_skip_loopback(
    tasks: Tasks,
) -> None:
    at = Bench(tasks, config(), ("192.168.1.5", 11434))
    at.world.serve(OLLAMA, "ollama", "llama3")
    await at.look()
    assert at.states() == {"ollama": Status.ONLINE}


async def test_never_takes_another_gateway_for_a_provider(tasks: Tasks) -> None:
    at = Bench(tasks, config())
    at.world.serve(OLLAMA, "ollama", "llama3")
    at.world.answers[OLLAMA + "/"] = answer({"name": GATEWAY_NAME})
    await at.look()
    assert at.states() == {}


@pytest.mark.parametrize("home", [b"Ollama is running", b'["x"]', b'{"name":"x"}'])
async def test_what_else_a_server_says_at_its_root_is_no_matter(
    tasks: Tasks, home: bytes
) -> None:
    at = Bench(tasks, config())
    at.world.serve(OLLAMA, "ollama", "llama3")
    at.world.answers[OLLAMA + "/"] = answer(home)
    await at.look()
    assert at.states() == {"ollama": Status.ONLINE}


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "127.0.0.2"])
async def test_the_files_provider_keeps_its_address(tasks: Tasks, name: str) -> None:
    at = Bench(tasks, config(providers=(file_provider(f"http://{name}:11434/v1"),)))
    at.world.serve(OLLAMA, "ollama", "llama3")
    at.world.serve(f"http://{name}:11434", "ollama", "llama3")
    await at.look()
    assert at.states() == {"mine": Status.ONLINE}


async def test_found_beside_a_configured_provider_of_its_kind(tasks: Tasks) -> None:
    at = Bench(tasks, config(providers=(file_provider("http://pc.lan:11434"),)))
    at.world.serve(OLLAMA, "ollama", "llama3")
    await at.look()
    assert at.states() == {"mine": Status.OFFLINE, "ollama": Status.ONLINE}


async def test_a_taken_id_gets_the_port_beside_it(tasks: Tasks) -> None:
    taken = ProviderConfig(id="ollama", kind="ollama", endpoint="http://pc.lan:11434")
    at = Bench(tasks, config(providers=(taken,)))
    at.world.serve(OLLAMA, "ollama", "llama3")
    await at.look()
    assert set(at.states()) == {"ollama", "ollama-11434"}


async def test_vanishes_to_offline_and_comes_back(tasks: Tasks) -> None:
    at = Bench(tasks, config())
    at.world.serve(OLLAMA, "ollama", "llama3")
    await at.look()
    at.world.remove(OLLAMA)
    at.clock.at += 60
    await at.look()
    assert at.states() == {"ollama": Status.OFFLINE}
    at.world.serve(OLLAMA, "ollama", "llama3", "qwen")
    at.clock.at += 60
    await at.look()
    assert at.states() == {"ollama": Status.ONLINE}
    assert [m.id for m in at.registry.providers[0].models] == ["llama3", "qwen"]


async def test_another_kind_may_take_over_an_abandoned_port(tasks: Tasks) -> None:
    at = Bench(tasks, config())
    at.world.serve(EIGHT, "vllm", "qwen")
    await at.look()
    at.world.serve(EIGHT, "llamacpp", "tiny")
    for _ in range(2):  # one look to see it gone, one to see who is there instead
        at.clock.at += 60
        await at.look()
    assert at.states() == {"llamacpp": Status.ONLINE, "vllm": Status.OFFLINE}


async def test_a_cloud_with_a_key_is_there_at_once(tasks: Tasks) -> None:
    keys = MappingProxyType({"openai": "sk-1", "anthropic": "no adapter here"})
    at = Bench(tasks, config(environment_keys=keys))
    at.world.answers["https://api.openai.com/list"] = asyncio.Event()
    await at.discovery.first_look(limit_s=0)
    (found,) = at.registry.providers
    assert (found.id, found.status, found.local) == ("openai", Status.UNKNOWN, False)
    assert found.adapter.settings.key == "sk-1"


async def test_a_configured_kind_of_cloud_is_the_files_affair(tasks: Tasks) -> None:
    mine = ProviderConfig(
        id="mine", kind="openai", type="cloud", endpoint="https://api.openai.com"
    )
    keys = MappingProxyType({"openai": "sk-1"})
    at = Bench(tasks, config(providers=(mine,), environment_keys=keys))
    await at.discovery.first_look()
    assert set(at.states()) == {"mine"}


async def test_without_discovery_nothing_is_looked_for(tasks: Tasks) -> None:
    keys = MappingProxyType({"openai": "sk-1"})
    off = DiscoveryConfig(enabled=False)
    at = Bench(tasks, config(discovery=off, environment_keys=keys))
    at.world.serve(OLLAMA, "ollama", "llama3")
    await at.discovery.first_look()
    assert at.states() == {}
    assert at.world.asked == []


async def test_without_discovery_configured_providers_are_still_probed(
    tasks: Tasks,
) -> None:
    off = DiscoveryConfig(enabled=False)
    at = Bench(
        tasks, config(discovery=off, providers=(file_provider("http://pc.lan"),))
    )
    at.world.serve("http://pc.lan", "ollama", "llama3")
    await at.discovery.first_look()
    assert at.states() == {"mine": Status.ONLINE}


async def test_a_hint_replaces_the_usual_port_and_needs_no_discovery(
    tasks: Tasks,
) -> None:
    hints = MappingProxyType({"ollama": "http://pc.lan:4000"})
    off = DiscoveryConfig(enabled=False)
    at = Bench(tasks, config(discovery=off, local_hints=hints))
    at.world.serve(OLLAMA, "ollama", "llama3")
    at.world.serve("http://pc.lan:4000", "ollama", "qwen")
    await at.look()
    (found,) = at.registry.providers
    assert [m.id for m in found.models] == ["qwen"]
    assert OLLAMA + "/list" not in at.world.urls()


async def test_a_hint_that_leads_here_is_not_followed(tasks: Tasks) -> None:
    hints = MappingProxyType({"ollama": "http://localhost:3500"})
    at = Bench(tasks, config(local_hints=hints), ("0.0.0.0", 3500))
    at.world.serve("http://localhost:3500", "ollama", "llama3")
    await at.look()
    assert at.states() == {}


async def test_a_local_key_goes_with_the_questions(tasks: Tasks) -> None:
    at = Bench(tasks, config(local_keys=MappingProxyType({"vllm": "k"})))
    at.world.serve(EIGHT, "vllm", "qwen")
    await at.look()
    assert ("authorization", "Bearer k") in at.world.headers[EIGHT + "/alive"]


async def test_demo_is_there_at_once(tasks: Tasks) -> None:
    at = Bench(tasks, config(demo=True, discovery=DiscoveryConfig(enabled=False)))
    at.world.serve(found_provider(config(), "demo").base_url, "demo", "demo")
    await at.discovery.first_look()
    assert at.states() == {"demo": Status.ONLINE}


async def test_a_host_that_hangs_does_not_hold_the_start(tasks: Tasks) -> None:
    at = Bench(tasks, config(providers=(file_provider("http://pc.lan"),)))
    hang = asyncio.Event()
    at.world.answers["http://pc.lan/alive"] = hang
    await at.discovery.first_look(limit_s=0)
    assert at.states()["mine"] is Status.UNKNOWN
    hang.set()
    await at.look()  # joins the first, still under way
    assert at.states()["mine"] is Status.OFFLINE


async def test_callers_share_one_look(tasks: Tasks) -> None:
    at = Bench(tasks, config(providers=(file_provider("http://pc.lan"),)))
    hang = asyncio.Event()
    at.world.answers["http://pc.lan/alive"] = hang
    both = [tasks.start(at.look(), "caller") for _ in range(2)]
    await asyncio.sleep(0)
    hang.set()
    await asyncio.gather(*both)
    assert at.world.urls().count("http://pc.lan/alive") == 1


async def test_a_caller_that_leaves_does_not_end_the_look(tasks: Tasks) -> None:
    at = Bench(tasks, config(providers=(file_provider("http://pc.lan"),)))
    hang = asyncio.Event()
    at.world.answers["http://pc.lan/alive"] = hang
    leaver, stayer = (tasks.start(at.look(), "caller") for _ in range(2))
    await asyncio.sleep(0)
    leaver.cancel()
    hang.set()
    await stayer
    assert at.states()["mine"] is Status.OFFLINE


async def test_looks_at_most_once_in_five_seconds(tasks: Tasks) -> None:
    at = Bench(tasks, config())
    await at.look()
    asked = len(at.world.asked)
    at.clock.at += 4.9
    await at.look()
    assert len(at.world.asked) == asked
    at.clock.at += 0.2
    await at.look()
    assert len(at.world.asked) == 2 * asked


async def test_ticks_look_again_after_the_refresh_time(tasks: Tasks) -> None:
    at = Bench(tasks, config(discovery=DiscoveryConfig(refresh_seconds=60)))
    await at.discovery.first_look()
    at.world.serve(OLLAMA, "ollama", "llama3")
    for pause, expected in ((59.0, set()), (2.0, {"ollama"})):
        at.clock.at += pause
        at.discovery.tick(at.clock.at)
        for _ in range(30):
            await asyncio.sleep(0)
        assert set(at.states()) == expected


async def test_one_provider_can_be_checked_alone(tasks: Tasks) -> None:
    at = Bench(tasks, config(providers=(file_provider("http://pc.lan"),)))
    at.world.serve("http://pc.lan", "ollama", "llama3")
    await at.discovery.check(at.registry.providers[0])
    assert at.states() == {"mine": Status.ONLINE}


def off() -> DiscoveryConfig:
    return DiscoveryConfig(enabled=False)


@pytest.mark.parametrize(
    ("after", "stays"),
    [
        ({}, True),
        ({"discovery": off()}, False),
        ({"discovery": off(), "local_hints": {"ollama": OLLAMA}}, True),
        ({"providers": (file_provider(OLLAMA),)}, False),
        ({"providers": (file_provider("http://box.lan:11434"),)}, True),
    ],
)
async def test_after_a_reload_it_is_known_who_would_be_found_again(
    tasks: Tasks, after: dict[str, Any], stays: bool
) -> None:
    at = Bench(tasks, config())
    at.world.serve(OLLAMA, "ollama", "llama3")
    await at.look()
    (found,) = at.registry.providers
    at.discovery.load(config(**after))
    assert at.discovery.finds(found.config) is stays


async def test_a_cloud_that_the_file_now_configures_is_the_files_affair(
    tasks: Tasks,
) -> None:
    keys = {"openai": "sk-1"}
    at = Bench(tasks, config(environment_keys=keys, discovery=off()))
    at.discovery.add_certain()
    assert at.states() == {}
    at.discovery.load(config(environment_keys=keys))
    at.discovery.add_certain()
    (found,) = at.registry.providers
    assert at.discovery.finds(found.config)
    mine = ProviderConfig(id="mine", kind="openai", endpoint="https://api.openai.com")
    at.discovery.load(config(environment_keys=keys, providers=(mine,)))
    assert not at.discovery.finds(found.config)


async def test_a_reload_changes_where_it_looks(tasks: Tasks) -> None:
    at = Bench(tasks, config())
    at.discovery.load(config(discovery=off()))
    at.world.serve(OLLAMA, "ollama", "llama3")
    await at.look()
    assert at.states() == {}
