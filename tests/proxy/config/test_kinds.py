"""What config knows of the kinds is what the adapters say of themselves."""

from __future__ import annotations

from typing import get_args

from providers.registry import KINDS as ADAPTERS
from proxy.config.kinds import FOUND_LOCALLY, KINDS, KindName
from proxy.config.value import base_url


def test_every_adapter_is_a_kind_and_every_kind_has_one() -> None:
    assert set(KINDS) == set(ADAPTERS)
    assert set(KINDS) == set(get_args(KindName))


def test_addresses_and_variables_agree() -> None:
    for name, adapter in ADAPTERS.items():
        kind = KINDS[name]
        assert kind.key_variables == adapter.key_variables, name
        ours = kind.default_url and base_url(kind.default_url)
        theirs = adapter.default_url and base_url(adapter.default_url)
        assert ours == theirs, name


def test_types_agree() -> None:
    for name, adapter in ADAPTERS.items():
        if (type_ := KINDS[name].type) is not None:
            assert (type_ == "local") is adapter.capabilities.local, name


def test_what_is_found_locally_has_usual_ports() -> None:
    assert {n for n, a in ADAPTERS.items() if a.usual_ports} == set(FOUND_LOCALLY)
