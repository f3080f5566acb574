from __future__ import annotations

import pytest

from providers.base import Reach
from proxy.auth import permission
from proxy.core.errors import CallerFault
from proxy.core.types import ANYONE, Principal


def holder(*scopes: str, models: tuple[str, ...] = ()) -> Principal:
    return Principal(scopes=frozenset(scopes), models=models)


def refusal(decide: object, *arguments: object, **named: object) -> str | None:
    try:
        decide(*arguments, **named)  # type: ignore[operator]
    except CallerFault as fault:
        return fault.code
    return None


@pytest.mark.parametrize("scope", sorted(permission.SCOPES))
def test_a_scope_opens_what_asks_for_it_and_admin_opens_all(scope: str) -> None:
    assert refusal(permission.check_scope, holder(scope), scope) is None
    assert refusal(permission.check_scope, holder("admin"), scope) is None
    others = permission.SCOPES - {scope, "admin", "tenant_config:write"}
    assert refusal(permission.check_scope, holder(*others), scope) == "forbidden"
    assert refusal(permission.check_scope, holder(), scope) == "forbidden"


def test_who_may_write_a_tenants_configuration_may_read_it_and_not_otherwise() -> None:
    writer, reader = holder("tenant_config:write"), holder("tenant_config:read")
    assert permission.has_scope(writer, "tenant_config:read")
    assert not permission.has_scope(reader, "tenant_config:write")


def test_anybody_may_infer_and_no_more() -> None:
    opened = {s for s in permission.SCOPES if permission.has_scope(ANYONE, s)}
    assert opened == {"inference"}


@pytest.mark.parametrize(
    ("names", "allowed"),
    [
        (("qwen2.5-14b",), True),
        (("default-chat", "qwen2.5-14b"), True),
        (("llama3.1:8b",), False),
        (("gpt-4o", "gpt-4o-2024"), False),
        (("llama3",), True),
        (("llama3:latest",), True),
        (("llama3:70b",), False),
        (("mistral",), True),
        (("mistral:latest",), True),
        (("QWEN2.5-14b",), False),
        ((None,), False),
        ((), False),
        (("qwen" + "x" * 600,), False),
    ],
)
def test_a_list_of_models_holds_names_aliases_and_patterns(
    names: tuple[str | None, ...], allowed: bool
) -> None:
    principal = holder("inference", models=("qwen*", "llama3", "mistral:latest"))
    assert permission.may_use(principal, *names) is allowed
    code = refusal(permission.check_model, principal, *names)
    assert code == (None if allowed else "model_not_allowed")


def test_without_a_list_every_model_may_be_used() -> None:
    assert permission.may_use(ANYONE, "anything")
    assert permission.may_use(ANYONE)


@pytest.mark.parametrize(
    ("reach", "user", "admin"),
    [
        (Reach.INFERENCE, None, None),
        (Reach.METADATA, None, None),
        (Reach.OWNER, "forbidden", None),
    ],
)
def test_owners_paths_are_for_admins(
    reach: Reach, user: str | None, admin: str | None
) -> None:
    check = permission.check_reach
    assert refusal(check, holder("inference"), reach, None) == user
    assert refusal(check, holder("admin"), reach, None) == admin
    assert refusal(check, holder("metrics:read"), reach, None) == "forbidden"


def test_a_list_of_models_holds_on_pass_through_where_the_model_is_read() -> None:
    principal = holder("inference", models=("qwen*",))
    check = permission.check_reach
    assert refusal(check, principal, Reach.INFERENCE, ["qwen3"]) is None
    for models in (["llama3"], [], None):
        for reach in (Reach.INFERENCE, Reach.METADATA):
            assert refusal(check, principal, reach, models) == "model_not_allowed"
    limited_admin = holder("admin", models=("qwen*",))
    assert refusal(check, limited_admin, Reach.OWNER, None) == "model_not_allowed"


def test_what_is_not_known_of_v1_is_for_admins_at_clouds_and_for_no_list() -> None:
    check = permission.check_forward
    assert refusal(check, holder("inference"), is_cloud=False) is None
    assert refusal(check, holder("inference"), is_cloud=True) == "forbidden"
    assert refusal(check, holder("admin"), is_cloud=True) is None
    limited = holder("inference", models=("qwen*",))
    assert refusal(check, limited, is_cloud=False) == "model_not_allowed"


def test_another_tenants_object_is_as_one_that_is_not_there() -> None:
    principal = Principal(tenant="team-a", scopes=frozenset({"admin"}))
    assert refusal(permission.check_tenant, principal, "team-a", "response") is None
    assert refusal(permission.check_tenant, principal, "b", "response") == "not_found"
