from __future__ import annotations

from typing import Any

import pytest

from providers.base import FoundModel, Operation
from providers.wire.members import read_members
from proxy.config import Config, ModelConfig
from proxy.config.schema import RoutingConfig
from proxy.config.schema_models import ModelCapabilities, ModelProvider
from proxy.routing.catalog import Catalog, Missing, Resolution
from proxy.routing.needs import MOST_BYTES_PER_TOKEN, Needs
from proxy.routing.registry import Provider, Status
from tests.fakes.kinds import CHAT, EMBEDDINGS, RERANK, provider


def catalog(
    *providers: Provider, models: tuple[ModelConfig, ...] = (), **more: Any
) -> Catalog:
    ordered = sorted(providers, key=lambda p: (p.config.priority, p.id))
    return Catalog(Config(models=models, **more), ordered)


def named(id_: str, at: str, **more: Any) -> ModelConfig:
    return ModelConfig(id=id_, provider_id=at, **more)


def who(resolution: Resolution) -> list[tuple[str, str]]:
    return [(c.provider.id, c.upstream_model) for c in resolution.candidates]


def ask(
    known: Catalog, name: str, operation: Operation = CHAT
) -> list[tuple[str, str]]:
    return who(known.resolve(name, operation))


def test_configured_id_goes_to_its_provider_under_the_upstreams_name() -> None:
    model = named("qwen", "spark", upstream_model="Qwen/Qwen2.5")
    known = catalog(provider("spark", "Qwen/Qwen2.5"), models=(model,))
    (candidate,) = known.resolve("qwen", CHAT).candidates
    assert (candidate.provider.id, candidate.upstream_model) == (
        "spark",
        "Qwen/Qwen2.5",
    )
    assert candidate.model is model


def test_alias_stands_for_its_model() -> None:
    model = named("qwen", "spark", aliases=("gpt-4o-mini",))
    assert ask(catalog(provider("spark"), models=(model,)), "gpt-4o-mini") == [
        ("spark", "qwen")
    ]


def test_provider_and_model_name_one_place() -> None:
    known = catalog(
        provider("a", "llama"),
        provider("b", "llama"),
        models=(named("mine", "b", upstream_model="Up"),),
    )
    assert ask(known, "b/llama") == [("b", "llama")]
    assert ask(known, "b/mine") == [("b", "Up")]
    assert ask(known, "b/Up") == [("b", "Up")]


def test_provider_alone_means_its_default_model() -> None:
    first = named("one", "spark")
    second = named("two", "spark", is_default=True)
    known = catalog(provider("spark", "found"), models=(first, second))
    assert ask(known, "spark") == [("spark", "two")]


def test_provider_alone_prefers_warm_and_what_fits_the_operation() -> None:
    known = catalog(
        provider(
            "desk",
            FoundModel("cold", warm=False, kind="chat"),
            FoundModel("embed", warm=True, kind="embeddings"),
            FoundModel("warm", warm=True, kind="chat"),
            kind="ollama",
        )
    )
    assert ask(known, "desk") == [("desk", "warm")]
    assert ask(known, "desk", EMBEDDINGS) == [("desk", "embed")]


@pytest.mark.parametrize(
    ("listed", "asked"),
    [
        ("llama3:latest", "llama3"),
        ("llama3:latest", "llama3:latest"),
        ("llama3", "llama3:latest"),
        ("llama3:latest", "desk/llama3"),
    ],
)
def test_found_id_with_or_without_latest(listed: str, asked: str) -> None:
    known = catalog(provider("desk", listed, kind="ollama"))
    assert ask(known, asked) == [("desk", listed)]


def test_other_tags_are_not_left_out() -> None:
    known = catalog(provider("desk", "llama3:8b", kind="ollama"))
    assert ask(known, "llama3") == []
    assert ask(known, "llama3:8b:latest") == []


def test_wildcard_hands_the_rest_on_and_the_longest_wins() -> None:
    known = catalog(
        provider("cloud", kind="openai"),
        provider("other", kind="openai"),
        models=(named("x/*", "cloud"), named("x/y/*", "other")),
    )
    assert ask(known, "x/claude") == [("cloud", "claude")]
    assert ask(known, "x/y/z") == [("other", "z")]
    assert ask(known, "x/") == []


def test_wildcard_with_an_upstream_model_sends_that() -> None:
    known = catalog(
        provider("spark"), models=(named("gpt-*", "spark", upstream_model="qwen"),)
    )
    assert ask(known, "gpt-4o") == [("spark", "qwen")]


def test_names_are_looked_up_in_order() -> None:
    known = catalog(
        provider("spark", "id", "alias", "other"),
        provider("id", "other"),
        models=(
            named("id", "spark", upstream_model="by-id"),
            named("x", "spark", upstream_model="by-alias", aliases=("alias", "id")),
            named("*", "spark", upstream_model="by-star"),
        ),
    )
    assert ask(known, "id") == [("spark", "by-id")]
    assert ask(known, "alias") == [("spark", "by-alias")]
    assert ask(known, "id/other") == [("id", "other")]
    assert ask(known, "never heard of") == [("spark", "by-star")]
    assert ask(known, "auto") == [("spark", "by-star")]


def test_a_provider_id_beats_a_found_model_of_the_same_name() -> None:
    known = catalog(provider("ollama", "real"), provider("z", "ollama"))
    assert ask(known, "ollama") == [("ollama", "real")]
    assert ask(known, "z/ollama") == [("z", "ollama")]


def test_a_found_id_that_begins_like_a_provider_stays_with_who_lists_it() -> None:
    known = catalog(
        provider("openai", "gpt-4o", kind="openai"),
        provider("desk", "openai/gpt-oss", kind="ollama"),
    )
    assert ask(known, "openai/gpt-oss") == [("desk", "openai/gpt-oss")]


def test_a_cloud_is_asked_for_models_that_it_does_not_list() -> None:
    known = catalog(provider("cloud", "gpt-4o", kind="openai"))
    assert ask(known, "cloud/gpt-next") == [("cloud", "gpt-next")]
    assert ask(known, "gpt-next") == []
    assert ask(known, "cloud/") == []


def test_a_local_server_is_believed_once_it_has_listed() -> None:
    assert ask(catalog(provider("spark", "qwen")), "spark/llama") == []
    assert ask(catalog(provider("spark")), "spark/llama") == [("spark", "llama")]


def test_one_id_at_several_providers_priority_first() -> None:
    known = catalog(
        provider("a", "m", priority=2),
        provider("b", "m", priority=1),
        provider("c", "m", kind="openai", priority=1),
    )
    assert [id_ for id_, _ in ask(known, "m")] == ["b", "c", "a"]


def test_of_equal_priority_warm_then_local_then_id() -> None:
    cold, warm = FoundModel("m", warm=False), FoundModel("m", warm=True)
    known = catalog(
        provider("d", cold),
        provider("c", warm),
        provider("b", warm),
        provider("a", warm, kind="openai"),
    )
    assert [id_ for id_, _ in ask(known, "m")] == ["b", "c", "a", "d"]


def test_configured_order_of_providers_is_kept() -> None:
    model = ModelConfig(
        id="m",
        providers=(ModelProvider(id="z"), ModelProvider(id="a", upstream_model="up")),
    )
    known = catalog(provider("a", priority=0), provider("z"), models=(model,))
    assert ask(known, "m") == [("z", "m"), ("a", "up")]


def test_who_is_not_well_comes_last() -> None:
    known = catalog(
        provider("a", "m", health=Status.LOADING),
        provider("b", "m", health=Status.DEGRADED),
        provider("c", "m", priority=9),
    )
    assert [id_ for id_, _ in ask(known, "m")] == ["c", "b", "a"]


def test_down_and_disabled_providers_are_left_out() -> None:
    known = catalog(
        provider("a", "m", health=Status.OFFLINE),
        provider("b", "m", enabled=False),
        provider("c", "m", health=Status.UNKNOWN),
    )
    assert ask(known, "m") == [("c", "m")]


def test_nobody_left_is_unavailable_and_names_them() -> None:
    known = catalog(provider("a", "m", health=Status.OFFLINE))
    resolution = known.resolve("m", CHAT)
    assert resolution.missing is Missing.UNAVAILABLE
    assert [p.id for p in resolution.kept_out] == ["a"]


def test_a_model_whose_provider_is_not_found_yet_is_unavailable() -> None:
    known = catalog(models=(named("m", "ollama"),))
    assert known.resolve("m", CHAT).missing is Missing.UNAVAILABLE


def test_an_operation_nobody_can_do_is_unsupported() -> None:
    known = catalog(provider("desk", "m", kind="ollama"))
    resolution = known.resolve("m", RERANK)
    assert resolution.missing is Missing.UNSUPPORTED
    assert [p.id for p in resolution.kept_out] == ["desk"]


def test_only_those_that_can_do_it_are_candidates() -> None:
    known = catalog(
        provider("a", "m", kind="ollama"),
        provider("b", "m"),
        provider("c", "m", kind="openai"),
    )
    assert ask(known, "m", RERANK) == [("b", "m")]


def test_down_beats_unsupported_when_the_able_one_is_down() -> None:
    known = catalog(
        provider("a", "m", kind="ollama"), provider("b", "m", health=Status.OFFLINE)
    )
    resolution = known.resolve("m", RERANK)
    assert resolution.missing is Missing.UNAVAILABLE
    assert [p.id for p in resolution.kept_out] == ["b"]


def test_unknown_names_up_to_three_near_ids() -> None:
    known = catalog(provider("a", "Llama3.1:8b", "llama3.2:3b", "llama3:8b", "qwen"))
    resolution = known.resolve("llama3.1:8", CHAT)
    assert resolution.missing is Missing.UNKNOWN
    assert resolution.near[0] == "Llama3.1:8b"
    assert len(resolution.near) == 3
    assert known.resolve("zzzzzz", CHAT).near == ()


def test_an_endless_name_is_compared_by_its_beginning() -> None:
    known = catalog(provider("a", "m" * 120))
    assert known.resolve("m" * 1_000_000, CHAT).near == ("m" * 120,)


def test_auto_takes_the_default_model() -> None:
    warm = FoundModel("warm", warm=True)
    known = catalog(
        provider("a", warm),
        provider("b"),
        models=(named("mine", "b", is_default=True),),
    )
    assert ask(known, "auto") == [("b", "mine")]


def test_the_routing_section_names_the_default_by_any_name() -> None:
    known = catalog(
        provider("a", "first", "second"),
        routing=RoutingConfig(default_model="a/second"),
    )
    assert ask(known, "auto") == [("a", "second")]


def test_auto_passes_over_a_default_that_is_down_or_cannot() -> None:
    down = catalog(
        provider("a", "m"),
        provider("b", health=Status.OFFLINE),
        models=(named("mine", "b", is_default=True),),
    )
    assert ask(down, "auto") == [("a", "m")]
    unable = catalog(
        provider("a", "m"),
        provider("b", kind="openai"),
        models=(named("mine", "b", is_default=True),),
    )
    assert ask(unable, "auto", EMBEDDINGS) == [("a", "m")]


def test_auto_prefers_warm_then_local_then_priority_then_id() -> None:
    def pick(*providers: Provider) -> str:
        return ask(catalog(*providers), "auto")[0][1]

    cold, warm = FoundModel("cold", warm=False), FoundModel("warm", warm=True)
    assert pick(provider("a", cold, priority=0), provider("b", warm)) == "warm"
    assert pick(provider("a", "cloud", kind="openai"), provider("b", warm)) == "warm"
    assert pick(provider("a", "x", priority=2), provider("b", "y", priority=1)) == "y"
    assert pick(provider("a", "y"), provider("b", "x")) == "x"


def test_auto_chooses_a_model_that_does_what_is_asked() -> None:
    known = catalog(
        provider(
            "a",
            FoundModel("a-embed", kind="embeddings"),
            FoundModel("b-chat", kind="chat"),
        ),
        models=(named("e", "a", capabilities=ModelCapabilities(embeddings=True)),),
    )
    assert ask(known, "auto") == [("a", "b-chat")]
    assert ask(known, "auto", EMBEDDINGS) == [("a", "a-embed")]


def test_auto_names_one_model_at_all_its_providers() -> None:
    known = catalog(provider("a", "m", "n"), provider("b", "m"))
    assert ask(known, "auto") == [("a", "m"), ("b", "m")]


def test_auto_with_nothing_there_is_unavailable() -> None:
    assert catalog().resolve("auto", CHAT).missing is Missing.UNAVAILABLE
    down = catalog(provider("a", "m", health=Status.OFFLINE))
    assert down.resolve("auto", CHAT).missing is Missing.UNAVAILABLE


def test_finds_the_model_behind_any_name() -> None:
    known = catalog(
        provider("a", "m:latest"), models=(named("x", "a", aliases=("y",)),)
    )
    found = {name: known.find(name) for name in ("x", "y", "m", "a/m", "nope")}
    assert {name: model and model.id for name, model in found.items()} == {
        "x": "x",
        "y": "x",
        "m": "m:latest",
        "a/m": "a/m",
        "nope": None,
    }


def test_ready_with_one_model_or_a_wildcard() -> None:
    assert not catalog().ready
    assert not catalog(provider("a", "m", health=Status.OFFLINE)).ready
    assert catalog(provider("a", "m")).ready
    assert catalog(provider("a"), models=(named("*", "a"),)).ready


def test_a_known_name_is_resolved_once() -> None:
    known = catalog(provider("a", "m"))
    assert known.resolve("m", CHAT) is known.resolve("m", CHAT)


def test_made_up_names_are_not_remembered() -> None:
    known = catalog(provider("a", "m", kind="openai"))
    for number in range(100):
        known.resolve(f"made-up-{number}", CHAT)
        known.resolve(f"a/made-up-{number}", CHAT)
    known.resolve("m", CHAT)
    assert len(known._resolved) == 1


def test_auto_passes_over_a_model_that_its_server_does_not_list() -> None:
    known = catalog(provider("a", "zebra"), models=(named("apple", "a"),))
    assert ask(known, "auto") == [("a", "zebra")]


def test_the_routing_section_may_name_what_nobody_lists() -> None:
    known = catalog(
        provider("a", "m"),
        provider("cloud", kind="openai"),
        routing=RoutingConfig(default_model="cloud/gpt-next"),
    )
    assert ask(known, "auto") == [("cloud", "gpt-next")]


def test_a_default_of_auto_is_no_default() -> None:
    known = catalog(provider("a", "m"), routing=RoutingConfig(default_model="auto"))
    assert ask(known, "auto") == [("a", "m")]


def test_auto_judges_unknown_models_by_their_names() -> None:
    known = catalog(provider("a", "bge-embed", "dall-e-3", "gpt", "whisper-1"))
    assert ask(known, "auto") == [("a", "gpt")]
    assert ask(known, "auto", EMBEDDINGS) == [("a", "bge-embed")]
    assert ask(known, "a") == [("a", "gpt")]


def test_auto_takes_what_there_is_if_no_name_looks_right() -> None:
    known = catalog(provider("a", "imagine"))
    assert ask(known, "auto") == [("a", "imagine")]
    assert ask(known, "auto", EMBEDDINGS) == [("a", "imagine")]


def test_of_listed_neighbours_with_one_priority_the_loaded_one_goes_first() -> None:
    model = ModelConfig(
        id="m", providers=tuple(ModelProvider(id=id_) for id_ in ("a", "b", "c"))
    )
    cold, warm = FoundModel("m", warm=False), FoundModel("m", warm=True)
    known = catalog(
        provider("a", cold),
        provider("b", warm),
        provider("c", warm, priority=0),
        models=(model,),
    )
    assert [id_ for id_, _ in ask(known, "m")] == ["b", "a", "c"]


def test_equals_stand_together() -> None:
    cold, warm = FoundModel("m", warm=False), FoundModel("m", warm=True)
    known = catalog(
        provider("a", warm),
        provider("b", warm),
        provider("c", cold),
        provider("d", warm, priority=2),
        provider("e", warm, kind="openai"),
    )
    groups = [[c.provider.id for c in g] for g in known.resolve("m", CHAT).peers]
    assert groups == [["a", "b"], ["e"], ["c"], ["d"]]


def test_a_single_unrestricted_place_needs_no_look_at_the_body() -> None:
    known = catalog(
        provider("a", "free", FoundModel("small", context_window=4096)),
        provider("b", FoundModel("blind", inputs=("text",)), "twice"),
        provider("c", "twice"),
    )
    assert known.resolve("free", CHAT).ample_bytes > 1 << 40
    assert known.resolve("small", CHAT).ample_bytes == 4096 * MOST_BYTES_PER_TOKEN
    assert known.resolve("blind", CHAT).ample_bytes == -1
    assert known.resolve("twice", CHAT).ample_bytes == -1


def test_a_resolution_knows_everyone_and_the_models_configuration() -> None:
    model = named("m", "a", fallbacks=("other",))
    known = catalog(provider("a", health=Status.OFFLINE), models=(model,))
    resolution = known.resolve("m", CHAT)
    assert resolution.config is model
    assert [c.provider.id for c in resolution.everyone] == ["a"]


def test_auto_passes_over_a_default_that_lacks_what_is_needed() -> None:
    blind = ModelCapabilities(vision=False)
    known = catalog(
        provider("a", "seeing"),
        provider("b"),
        models=(named("mine", "b", is_default=True, capabilities=blind),),
    )
    image = b'{"messages":[{"content":[{"type":"image_url","image_url":{}}]}]}'
    needs = Needs("chat", read_members(image))
    assert ask(known, "auto") == [("b", "mine")]
    assert who(known.suitable(CHAT, needs)) == [("a", "seeing")]
    assert who(known.suitable(CHAT, Needs("chat"))) == [("b", "mine")]


def test_a_model_at_one_provider_alone_has_no_fallbacks() -> None:
    places = (ModelProvider(id="a"), ModelProvider(id="b"))
    model = ModelConfig(id="m", providers=places, fallbacks=("other",))
    made = catalog(provider("a"), provider("b"), models=(model,))
    pinned = made.resolve("m", CHAT).at("b")
    assert [c.provider.id for c in pinned.candidates] == ["b"]
    assert (pinned.everyone, pinned.config) == (pinned.candidates, None)
    nowhere = made.resolve("m", CHAT).at("c")
    assert (nowhere.candidates, nowhere.missing) == ((), Missing.UNAVAILABLE)
