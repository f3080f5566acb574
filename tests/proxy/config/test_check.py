"""What is wrong between keys: ids, references, names, cycles, files, addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.check import check
from proxy.config.problems import Report
from proxy.config.schema import File
from proxy.config.validate import Validated
from tests.proxy.config.conftest import Faults, Read

A = "{id: a, kind: vllm, endpoint: 'http://a.lan'}"


def test_nothing_is_wrong_with_nothing() -> None:
    report = Report()
    check(Validated(File(), (), ()), (), report)
    assert not report.errors


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            f"providers:\n- {A}\n- {A}\n",
            "3: providers[1].id: 'a' is the id of another one already",
        ),
        (
            f"providers:\n- {A}\n- {{id: A, kind: openai}}\n",
            (
                "3: providers[1].id: 'A' and 'a' have the same environment variables "
                "(PROVIDER_A_*); rename one"
            ),
        ),
        (
            "models:\n- {id: m, providerId: vllm}\n- {id: m, providerId: vllm}\n",
            "3: models[1].id: 'm' is the id of another one already",
        ),
        (
            "models: [{id: m}]",
            "1: models[0].providerId: model 'm' has no provider; add providerId",
        ),
        (
            f"providers: [{A}]\nmodels: [{{id: m, providerId: b}}]",
            "2: models[0].providerId: no provider has the id 'b'",
        ),
        (
            "models: [{id: m, providerId: olama}]",
            (
                "1: models[0].providerId: no provider has the id 'olama' (did you mean "
                "'ollama'?)"
            ),
        ),
        (
            f"providers: [{A}]\nmodels: [{{id: m, providers: [{{id: a}}, {{id: b}}]}}]",
            "2: models[0].providers[1].id: no provider has the id 'b'",
        ),
        (
            (
                f"providers: [{A}]\n"
                "models: [{id: m, providerId: a, providers: [{id: a}]}]"
            ),
            "2: models[0].providers: cannot go with providerId; write one of them",
        ),
        (
            "models: [{id: openai/m, providerId: openai}]",
            "1: models[0].providerId: no provider has the id 'openai'",
        ),
        (
            "routing: {defaultProvider: b}",
            "1: routing.defaultProvider: no provider has the id 'b'",
        ),
        (
            (
                "models:\n- {id: m, providerId: vllm, aliases: [x]}\n"
                "- {id: n, providerId: vllm, aliases: [x]}\n"
            ),
            "3: models[1].aliases[0]: 'x' is an alias of 'm' already",
        ),
        (
            (
                "models:\n- {id: m, providerId: vllm, aliases: [n]}\n"
                "- {id: n, providerId: vllm}\n"
            ),
            "2: models[0].aliases[0]: 'n' is the id of a model already",
        ),
        (
            (
                "models:\n- {id: m, providerId: vllm, isDefault: true}\n"
                "- {id: n, providerId: vllm, isDefault: true}\n"
            ),
            "3: models[1].isDefault: 'n' and 'm' are both the default",
        ),
        (
            (
                "models: [{id: m, providerId: vllm, isDefault: true}]\n"
                "routing: {defaultModel: n}\n"
            ),
            "2: routing.defaultModel: 'n' and, by isDefault, 'm' are both the default",
        ),
        (
            "models: [{id: m, providerId: vllm, fallbacks: [m]}]",
            "1: models[0].fallbacks: leads in a circle: m → m",
        ),
        (
            (
                "models:\n- {id: m, providerId: vllm, fallbacks: [x]}\n"
                "- {id: n, providerId: vllm, aliases: [x], fallbacks: [o, elsewhere]}\n"
                "- {id: o, providerId: vllm, fallbacks: [m]}\n"
            ),
            "2: models[0].fallbacks: leads in a circle: m → n → o → m",
        ),
        (
            (
                "models:\n- {id: m, providerId: vllm, contextFallbacks: [n]}\n"
                "- {id: n, providerId: vllm, contextFallbacks: [m]}\n"
            ),
            "2: models[0].contextFallbacks: leads in a circle: m → n → m",
        ),
        (
            "models: [{id: 'a*b', providerId: vllm}]",
            "1: models[0].id: may have a * at its end only",
        ),
        (
            "models: [{id: m, providerId: vllm, costPer1kTokens: 1, pricing: {}}]",
            "1: models[0].pricing: cannot go with costPer1kTokens; write one of them",
        ),
        (
            "providers: [{id: a, kind: ollama}]",
            (
                "1: providers[0].endpoint: is missing: a provider of kind ollama needs its "
                "address"
            ),
        ),
        (
            "providers: [{id: a, kind: vllm, endpoint: 'http://localhost:3500/v1'}]",
            "1: providers[0].endpoint: is the address of this gateway itself",
        ),
        (
            (
                "server: {host: box.lan, port: 80}\n"
                "providers: [{id: a, kind: vllm, endpoint: 'http://box.lan'}]"
            ),
            "2: providers[0].endpoint: is the address of this gateway itself",
        ),
    ],
)
def test_what_does_not_fit_together_is_told(
    faults: Faults, text: str, told: str
) -> None:
    assert faults(text) == [told]


def test_models_may_name_providers_that_discovery_finds(
    read: Read, faults: Faults
) -> None:
    text = """
    models:
      - {id: a, providerId: ollama}
      - {id: b, providerId: openai}
    """
    key = {"OPENAI_API_KEY": "k"}
    assert len(read(text, key).config.models) == 2
    assert len(faults(text, key, no_discover=True)) == 2


def test_the_demo_provider_may_be_named_when_there_is_one(
    read: Read, faults: Faults
) -> None:
    text = "models: [{id: a, providerId: demo}]"
    assert read(text, demo=True).config.models[0].provider_id == "demo"
    assert len(faults(text)) == 1


def test_a_way_out_of_a_context_may_lead_back_by_a_fallback(read: Read) -> None:
    text = """
    models:
      - {id: small, providerId: vllm, contextFallbacks: [large]}
      - {id: large, providerId: vllm, fallbacks: [small]}
    """
    assert len(read(text).config.models) == 2


def test_two_circles_are_two_problems_and_a_way_into_one_is_none(
    faults: Faults,
) -> None:
    told = faults(
        """\
        models:
          - {id: a, providerId: vllm, fallbacks: [b]}
          - {id: b, providerId: vllm, fallbacks: [c]}
          - {id: c, providerId: vllm, fallbacks: [b]}
          - {id: d, providerId: vllm, fallbacks: [e]}
          - {id: e, providerId: vllm, fallbacks: [d, a]}
        """
    )
    assert [fault.rpartition(": ")[2] for fault in told] == ["b → c → b", "d → e → d"]


def test_a_long_chain_of_fallbacks_is_followed_in_time(read: Read) -> None:
    chain = [
        f"- {{id: m{n}, providerId: vllm, fallbacks: [m{n + 1}]}}" for n in range(300)
    ]
    assert len(read("models:\n" + "\n".join(chain)).config.models) == 300


@pytest.mark.parametrize("key", ["caFile", "certFile"])
def test_tls_files_of_a_provider_must_be_readable(
    faults: Faults, tmp_path: Path, key: str
) -> None:
    file = tmp_path / "absent.pem"
    (told,) = faults(
        "providers: [{id: a, kind: vllm, endpoint: 'https://a.lan', "
        f"tls: {{{key}: '{file}'}}}}]"
    )
    assert told.startswith(f"1: providers[0].tls.{key}: the file {file} cannot be read")


def test_the_gateways_own_tls_files_must_be_readable(
    read: Read, faults: Faults, tmp_path: Path
) -> None:
    there = tmp_path / "there.pem"
    there.write_text("pem")
    text = f"server: {{tls: {{certFile: '{there}', keyFile: '%s'}}}}"
    assert read(text % there).config.server.tls is not None
    (told,) = faults(text % tmp_path)
    assert told.startswith("1: server.tls.keyFile: the file ")


def test_a_client_key_needs_its_certificate(faults: Faults, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("pem")
    assert faults(
        "providers: [{id: a, kind: vllm, endpoint: 'https://a.lan', "
        f"tls: {{keyFile: '{key}'}}}}]"
    ) == ["1: providers[0].tls.keyFile: needs certFile beside it"]
