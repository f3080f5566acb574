from __future__ import annotations

import signal
from typing import Any

import pytest

from proxy.core.errors import CallerFault
from proxy.sandbox.process import Died
from proxy.sandbox.verdict import died, outcome

WALLS = ("process", "jail")


def read(**reply: Any) -> Any:
    return outcome({"duration_ms": 1.5, **reply}, "cpython", WALLS)


def refused(**reply: Any) -> CallerFault:
    with pytest.raises(CallerFault) as caught:
        read(**reply)
    return caught.value


def test_a_result_is_taken_as_it_is() -> None:
    got = read(
        kind="result", result='{"a": 10000000000000000000000000}', type="dict",
        stdout="hi\n", stderr="", truncated=True,
    )  # fmt: skip
    assert got.result == b'{"a": 10000000000000000000000000}'
    assert (got.result_type, got.stdout, got.truncated) == ("dict", "hi\n", True)
    assert (got.engine, got.isolation, got.duration_ms) == ("cpython", WALLS, 1.5)


@pytest.mark.parametrize("text", ["", "{", "nan", "1 2", '"\\ud800"', "[" * 5000])
def test_what_claims_to_be_json_and_is_not_becomes_text(text: str) -> None:
    got = read(kind="result", result=text, type="str")
    assert got.result.startswith(b'"')
    assert got.result.endswith(b'"')


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"kind": None},
        {"kind": ["result"]},
        {"kind": "ready"},
        {"kind": "lacks", "what": "x"},
    ],
)
def test_nonsense_is_a_run_that_failed(reply: dict[str, Any]) -> None:
    assert refused(**reply).code == "execution_error"


def test_fields_of_the_wrong_type_are_left_out() -> None:
    got = read(kind="result", result=["x"], type=7, stdout={}, truncated="yes")
    assert (got.result, got.result_type, got.stdout) == (b'""', "", "")
    assert got.truncated is False


def test_an_exception_is_told_with_its_traceback() -> None:
    error = refused(
        kind="raised", exception="ZeroDivisionError", message="division by zero",
        traceback='  File "<code>", line 2, in f\n    return 1/0\n',
    )  # fmt: skip
    assert (error.code, error.status, error.param) == ("execution_error", 400, "code")
    assert error.message == (
        "ZeroDivisionError: division by zero\nTraceback (most recent call last):\n"
        '  File "<code>", line 2, in f\n    return 1/0'
    )


def test_what_is_told_of_an_exception_is_bounded() -> None:
    endless = "x" * 1_000_000
    error = refused(
        kind="raised", exception=endless, message=endless, traceback=endless
    )
    assert len(error.message) < 11_000


def test_a_syntax_error_has_its_place() -> None:
    error = refused(kind="syntax", message="invalid syntax", line=3, column=7)
    assert error.message == "SyntaxError: invalid syntax (line 3, column 7)"


def test_input_that_does_not_fit_is_named() -> None:
    missing = refused(kind="missing", name="b", function="add")
    assert (missing.code, missing.param) == ("missing_field", "input.b")
    odd = refused(kind="unexpected", name="c", function="add")
    assert (odd.code, odd.param) == ("invalid_field", "input.c")
    assert refused(kind="ambiguous").param == "code"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (3, "exit code 3"),
        (128 + signal.SIGSEGV, "signal 11"),
        (None, "broke off"),
    ],
)
def test_a_process_that_died_is_told_how(code: int | None, words: str) -> None:
    error = died(Died(code))
    assert error.code == "execution_error"
    assert words in error.message


def test_too_much_processor_time_is_a_timeout() -> None:
    assert died(Died(128 + signal.SIGXCPU)).code == "execution_timeout"
