"""Origins of configured providers: remembered, with the options of each."""

from __future__ import annotations

from dataclasses import replace

from proxy.relay.origins import Origins, origin_of
from tests.fakes.kinds import provider


def test_origins_are_remembered_until_the_provider_changes() -> None:
    config = provider("box").config
    origins = Origins()
    known = origins(config)
    assert (known.host, known.port) == ("box.lan", 8000)
    assert origins(config) is known
    moved = replace(config, endpoint="http://elsewhere.lan:1")
    assert origins(moved).host == "elsewhere.lan"
    assert origins(config).host == "box.lan"


def test_an_origin_has_the_providers_options() -> None:
    config = provider(
        "box", endpoint="https://box.lan", proxy="http://out.lan:3128"
    ).config
    origin = origin_of(config)
    assert (origin.scheme, origin.port, origin.proxy) == (
        "https",
        443,
        "http://out.lan:3128",
    )
    assert origin.tls.verify
