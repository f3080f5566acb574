"""Each kind of wrong value has its plain words, its line and a near key."""

from __future__ import annotations

import pytest

from proxy.config.schema import File
from proxy.config.schema_models import Pricing
from proxy.config.schema_policy import RateLimit, TenantBudget
from proxy.config.schema_providers import TimeoutsEntry
from proxy.config.validate import inner_model, known_keys
from tests.proxy.config.conftest import Faults, Read

PROVIDER = "{id: a, kind: vllm, endpoint: 'http://a.lan', "


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("servr: {}", "1: servr: unknown key (did you mean 'server'?)"),
        ("port: 1", "1: port: unknown key (did you mean 'server.port'?)"),
        (
            "providers: [{id: a, kind: openai, api_key: k}]",
            "1: providers[0].api_key: unknown key (did you mean 'authSecret'?)",
        ),
        (
            "providers: [{id: a, kind: openai, baseUrl: 'http://a.lan'}]",
            "1: providers[0].baseUrl: unknown key (did you mean 'endpoint'?)",
        ),
        (
            "providers: [{id: a, kind: openai, tls: {secret: k}}]",
            "1: providers[0].tls.secret: unknown key",
        ),
        ("server: {prot: 1}", "1: server.prot: unknown key (did you mean 'port'?)"),
        (
            "server: {max_body_bytes: 1}",
            "1: server.max_body_bytes: unknown key (did you mean 'maxBodyBytes'?)",
        ),
        ("server: {zzzzzz: 1}", "1: server.zzzzzz: unknown key"),
        (
            "server: {cors: {origins: []}}",
            "1: server.cors.origins: unknown key (did you mean 'allowedOrigins'?)",
        ),
        ("server: 3", "1: server: should be a mapping of keys"),
        ("server: []", "1: server: should be a mapping of keys"),
        ("providers: {}", "1: providers: should be a list"),
        ("providers: [3]", "1: providers[0]: should be a mapping of keys"),
        ("priorities: []", "1: priorities: should be a mapping of keys"),
        (
            "server: {port: many}",
            (
                "1: server.port: should be a valid integer, unable to parse string as an "
                "integer"
            ),
        ),
        (
            "server: {port: 70000}",
            "1: server.port: should be less than or equal to 65535",
        ),
        ("server: {port: -1}", "1: server.port: should be greater than or equal to 0"),
        (
            "server: {port: true}",
            "1: server.port: should be a number, not true or false",
        ),
        (
            "server: {port: 1.5}",
            (
                "1: server.port: should be a valid integer, got a number with a fractional "
                "part"
            ),
        ),
        (
            "server: {port: }",
            "1: server.port: has no value; leave the key out for its default",
        ),
        (
            "server: {drainSeconds: -3}",
            "1: server.drainSeconds: should be greater than or equal to 0",
        ),
        (
            "server: {headTimeoutSeconds: 0}",
            "1: server.headTimeoutSeconds: should be greater than 0",
        ),
        (
            "stream: {keepAliveSeconds: inf}",
            "1: stream.keepAliveSeconds: should be a finite number",
        ),
        (
            "server: {fastPath: perhaps}",
            "1: server.fastPath: should be a valid boolean, unable to interpret input",
        ),
        (
            "server: {host: 'http://x'}",
            "1: server.host: should be a host name or address, without scheme or port",
        ),
        (
            "server: {allowedHosts: [a.lan, 'a.lan:80']}",
            (
                "1: server.allowedHosts[1]: should be a host name or address, without scheme "
                "or port"
            ),
        ),
        ("server: {allowedHosts: a.lan}", "1: server.allowedHosts: should be a list"),
        (
            "server: {allowedHosts: [1]}",
            "1: server.allowedHosts[0]: should be text; put it in quotes",
        ),
        (
            "server: {trustedProxies: [10.0.0.0/99]}",
            (
                "1: server.trustedProxies[0]: should be an IP address or network such as "
                "10.0.0.0/8"
            ),
        ),
        (
            "server: {cors: {allowedOrigins: [chat.example]}}",
            (
                "1: server.cors.allowedOrigins[0]: should be an origin such as "
                "https://app.example, or *"
            ),
        ),
        (
            "server: {tls: {certFile: x}}",
            "1: server.tls.keyFile: is missing; it has no default",
        ),
        (
            "logging: {level: loud}",
            (
                "1: logging.level: should be 'debug', 'info', 'warning' or 'error', not "
                "'loud'"
            ),
        ),
        (
            "logging: {format: jsn}",
            (
                "1: logging.format: should be 'text' or 'json', not 'jsn' (did you mean "
                "'json'?)"
            ),
        ),
        (
            "routing: {retry: {budgetRatio: 2}}",
            "1: routing.retry.budgetRatio: should be less than or equal to 1",
        ),
        (
            "models: [{id: ' x', providerId: vllm}]",
            "1: models[0].id: should be 1 to 256 printable characters, no outer blanks",
        ),
        (
            "models: [{id: x, providerId: vllm, maxTokens: 0}]",
            "1: models[0].maxTokens: should be greater than or equal to 1",
        ),
        (
            "models: [{id: x, providerId: vllm, pricing: {inputPer1M: -1}}]",
            "1: models[0].pricing.inputPer1M: should be greater than or equal to 0",
        ),
        (
            "models: [{providerId: vllm}]",
            "1: models[0].id: is missing; it has no default",
        ),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(
    faults: Faults, text: str, told: str
) -> None:
    assert faults(text) == [told]


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        ("priority: -1", "priority: should be greater than or equal to 0"),
        ("maxConcurrent: 0", "maxConcurrent: should be greater than or equal to 1"),
        ("type: remote", "type: should be 'local' or 'cloud', not 'remote'"),
        ("healthCheckPath: health", "healthCheckPath: does not have the right form"),
        (
            "timeouts: {conect: 1}",
            "timeouts.conect: unknown key (did you mean 'connect'?)",
        ),
        ("timeouts: {idle: 0}", "timeouts.idle: should be greater than 0"),
        ("headers: {'a b': x}", "headers.a b: is not a valid header name"),
        ('headers: {a: "x\\ny"}', "headers.a: holds characters that no header may"),
        ("forwardHeaders: ['']", "forwardHeaders[0]: is not a valid header name"),
        (
            "wake: {mac: nobody}",
            "wake.mac: should be a MAC address such as aa:bb:cc:dd:ee:ff",
        ),
        ("proxy: 'socks5://x'", "proxy: should be a URL such as http://host:8000"),
        (
            "costPer1kTokens: -0.5",
            "costPer1kTokens: should be greater than or equal to 0",
        ),
    ],
)
def test_a_wrong_value_of_a_provider_is_told(
    faults: Faults, rest: str, told: str
) -> None:
    assert faults(f"providers: [{PROVIDER}{rest}}}]") == [f"1: providers[0].{told}"]


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ("gaming-pc.lan:8000", "should be a URL such as http://host:8000"),
        ("ftp://a.lan", "should be a URL such as http://host:8000"),
        ("http://", "should be a URL such as http://host:8000"),
        ("http://a.lan:99999", "is not a valid URL"),
        ("http://a.lan:x", "is not a valid URL"),
        ("http://[::1", "is not a valid URL"),
        ("http://a.lan/ b", "is not a valid URL"),
        (
            "http://me:hunter2@a.lan",
            "must hold no credentials; put the key into authSecret",
        ),
        ("http://a.lan?key=hunter2", "must have neither a query nor a fragment"),
        ("http://a.lan/#x", "must have neither a query nor a fragment"),
    ],
)
def test_a_wrong_endpoint_is_told_without_what_may_be_secret(
    faults: Faults, endpoint: str, told: str
) -> None:
    text = f"providers: [{{id: a, kind: vllm, endpoint: '{endpoint}'}}]"
    assert faults(text) == [f"1: providers[0].endpoint: {told}"]


@pytest.mark.parametrize("id_", ["a b", "-a", "a/b", "ä", "'" + "a" * 65 + "'", "''"])
def test_an_id_that_no_url_can_hold_is_refused(faults: Faults, id_: str) -> None:
    text = f"providers: [{{id: {id_}, kind: vllm, endpoint: 'http://a.lan'}}]"
    assert faults(text) == ["1: providers[0].id: does not have the right form"]


def test_an_unknown_kind_names_all_and_the_nearest(faults: Faults) -> None:
    (told,) = faults("providers: [{id: a, kind: olama, endpoint: 'http://a.lan'}]")
    assert told.startswith("1: providers[0].kind: should be 'vllm', 'ollama', ")
    assert told.endswith("not 'olama' (did you mean 'ollama'?)")


def test_all_problems_are_told_at_once_in_the_order_of_the_file(
    faults: Faults,
) -> None:
    told = faults(
        """\
        server:
          port: 0x
          hots: a
        server2: {}
        providers:
          - id: a
            kind: vllm
            endpoint: ${env:NONE}
            priority: -1
            timeouts: {idle: x}
          - kind: nobody
        models:
          - id: m
            providerId: c
            aliases: [x, x]
        logging: {level: 3}
        logging: {}
        """
    )
    places = [fault.split(": ")[:2] for fault in told]
    assert places == [
        ["2", "server.port"],
        ["3", "server.hots"],
        ["4", "server2"],
        ["8", "providers[0].endpoint"],
        ["9", "providers[0].priority"],
        ["10", "providers[0].timeouts.idle"],
        ["11", "providers[1].id"],
        ["11", "providers[1].kind"],
        ["14", "models[0].providerId"],
        ["15", "models[0].aliases[1]"],
        ["16", "logging.level"],
        ["17", "logging"],
    ]


def test_a_wrong_provider_is_still_a_provider_for_its_models(faults: Faults) -> None:
    told = faults(
        """\
        discovery: {enabled: false}
        providers: [{id: a, kind: vlm, endpoint: 'http://a.lan'}]
        models: [{id: m, providerId: a}]
        """
    )
    assert [fault.split(": ")[1] for fault in told] == ["providers[0].kind"]


def test_a_key_with_everything_below_it_commented_out_keeps_its_default(
    read: Read,
) -> None:
    config = read(
        """
        server:
        providers:
        models:
        routing:
          retry:
        priorities:
        """
    ).config
    assert config.server.port == 3500
    assert config.providers == ()
    assert config.routing.retry.backoff_seconds == 1.0


def test_attribute_names_are_no_keys_of_the_file(faults: Faults) -> None:
    (told,) = faults("stream: {keep_alive_seconds: 3}")
    assert "did you mean 'keepAliveSeconds'" in told


def test_known_keys_are_those_of_the_place() -> None:
    assert "firstByte" in known_keys(File, ("providers", 0, "timeouts"))
    assert "dailyUsd" in known_keys(File, ("budgets", "byTenant", "team-a"))
    assert known_keys(File, ("models", 3, "pricing")) == known_keys(Pricing, ())


def test_the_model_inside_an_annotation_is_found() -> None:
    assert inner_model(TimeoutsEntry) is TimeoutsEntry
    assert inner_model(tuple[RateLimit, ...] | None) is RateLimit
    assert inner_model(dict[str, TenantBudget]) is TenantBudget
    assert inner_model(dict[str, int]) is None
