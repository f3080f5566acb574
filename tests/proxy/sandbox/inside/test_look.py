from __future__ import annotations

from typing import Any

import pytest

from proxy.sandbox.inside import look


def entry(code: str) -> look.Entry | None:
    return look.entry_of(look.parse(code)[0])


def refusal(code: str, **given: Any) -> dict[str, Any] | None:
    return look.refusal(entry(code), given)


def test_the_only_function_is_called() -> None:
    found = entry("import math\nx = 1\ndef area(r): return r\n")
    assert found is not None
    assert (found.name, found.is_async, found.required) == ("area", False, ("r",))


def test_main_is_called_among_several() -> None:
    found = entry("def a(): pass\nasync def main(x, *, y): pass\ndef b(): pass")
    assert found is not None
    assert (found.name, found.is_async, found.required) == ("main", True, ("x", "y"))


def test_without_a_function_there_is_none_to_call() -> None:
    assert entry("result = 1") is None
    assert entry("class A:\n    def method(self): pass") is None
    assert entry("if True:\n    def inner(): pass") is None


def test_several_without_main_need_a_result() -> None:
    assert entry("def a(): pass\ndef b(): pass\nresult = a()") is None
    with pytest.raises(look.Ambiguous):
        entry("def a(): pass\ndef b(): pass\nprint(a())")


def test_the_same_function_twice_is_one() -> None:
    found = entry("def f(a): pass\ndef f(b): pass")
    assert found is not None
    assert found.required == ("b",)


@pytest.mark.parametrize(
    ("code", "given", "missing"),
    [
        ("def f(a, b): pass", {"b": 1}, "a"),
        ("def f(a, b=1): pass", {}, "a"),
        ("def f(a, *, b, c=2): pass", {"a": 1}, "b"),
        ("def f(a, *rest, **more): pass", {}, "a"),
    ],
)
def test_a_parameter_that_is_missing_is_named(
    code: str, given: dict[str, Any], missing: str
) -> None:
    told = refusal(code, **given)
    assert told == {"kind": "missing", "name": missing, "function": "f"}


@pytest.mark.parametrize(
    ("code", "given"),
    [
        ("def f(a, b=1): pass", {"a": 1}),
        ("def f(a, **more): pass", {"a": 1, "z": 2, "odd name": 3}),
        ("def f(): pass", {}),
        ("def f(a, /, b=1): pass", {"a": 1}),  # only calling tells
        ("def f(a=1, /, b=2): pass", {}),
        ("@any_thing\ndef f(a): pass", {}),
        ("result = a", {"a": 1}),
    ],
)
def test_input_that_may_fit_is_not_refused(code: str, given: dict[str, Any]) -> None:
    assert refusal(code, **given) is None


def test_input_that_nobody_takes_is_named() -> None:
    told = refusal("def f(a): pass", a=1, z=2)
    assert told == {"kind": "unexpected", "name": "z", "function": "f"}
    assert refusal("result = 1", **{"a b": 1}) == {"kind": "unexpected", "name": "a b"}


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("def f(:", 1),
        ("x = 1\nreturn x", 2),
        ("if True:\n  a\n b", 3),
        ("x = 1\n\n'open", 3),
        ("await f()", 1),
    ],
)
def test_what_is_no_python_has_its_place(code: str, line: int) -> None:
    with pytest.raises(SyntaxError) as caught:
        look.parse(code)
    told = look.refused(caught.value)
    assert told["kind"] == "syntax"
    assert told["line"] == line
    assert told["column"] >= 1


@pytest.mark.parametrize("code", ["a\0b", "(" * 5000, "x" + "[0]" * 5000])
def test_what_the_parser_cannot_take_is_no_python(code: str) -> None:
    with pytest.raises(SyntaxError):
        look.parse(code)
