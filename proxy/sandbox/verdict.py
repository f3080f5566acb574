"""What became of a run: its outcome, or the error of the catalogue that it is.

The reply comes from a process in which anything may have happened: whatever does
not look as it should is a run that failed.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import orjson

from proxy.core.errors import CallerFault
from proxy.sandbox.process import Died
from proxy.sandbox.run import EngineName, Outcome

_CODE: Final = "code"
_LONGEST_NAME: Final = 200
_LONGEST_MESSAGE: Final = 2_000
_LONGEST_TRACEBACK: Final = 8_000


def outcome(
    reply: Mapping[str, Any], engine: EngineName, isolation: tuple[str, ...]
) -> Outcome:
    """Read a reply. Raises CallerFault `execution_error`, `missing_field`, …"""
    kind = reply.get("kind")
    if kind != "result":
        _refuse(kind, reply)
    return Outcome(
        result=_checked(reply.get("result")),
        result_type=_text(reply, "type", _LONGEST_NAME),
        stdout=_text(reply, "stdout"),
        stderr=_text(reply, "stderr"),
        duration_ms=float(reply["duration_ms"]),
        engine=engine,
        isolation=isolation,
        truncated=reply.get("truncated") is True,
    )


def died(error: Died) -> CallerFault:
    """Tell of a process that ended without a reply."""
    code = error.code
    if code == 128 + signal.SIGXCPU:
        return timed_out("It used more processor time than it may.")
    if code is not None and code > 128:
        how = f"was killed by signal {code - 128}"
    elif code is not None:
        how = f"ended with exit code {code}"
    else:
        how = "broke off"
    return CallerFault(
        "execution_error", f"The code's process {how} without a result.", param=_CODE
    )


def timed_out(message: str) -> CallerFault:
    return CallerFault("execution_timeout", message, param="timeout_s")


def _checked(text: object) -> bytes:
    """Answer JSON text that is any; what is none becomes a string."""
    written = text if isinstance(text, str) else ""
    data = written.encode()
    try:
        orjson.loads(data)
    except ValueError:
        return orjson.dumps(written)
    return data


def _refuse(kind: object, reply: Mapping[str, Any]) -> NoReturn:
    if kind == "raised":
        raise CallerFault("execution_error", _told(reply), param=_CODE)
    if kind == "syntax":
        line, column = reply.get("line"), reply.get("column")
        place = f" (line {line}, column {column})" if isinstance(line, int) else ""
        message = f"SyntaxError: {_text(reply, 'message', _LONGEST_MESSAGE)}{place}"
        raise CallerFault("execution_error", message, param=_CODE)
    name = _text(reply, "name", _LONGEST_NAME)
    called = _text(reply, "function", _LONGEST_NAME)
    if kind == "missing":
        message = f"`input.{name}` is missing: {called}() needs it."
        raise CallerFault("missing_field", message, param=f"input.{name}")
    if kind == "unexpected":
        who = f"{called}() does not take it" if called else "it is no name of Python"
        message = f"`input.{name}` cannot be given: {who}."
        raise CallerFault("invalid_field", message, param=f"input.{name}")
    if kind == "ambiguous":
        message = (
            "The code defines several functions: name one `main`, or set `result`."
        )
        raise CallerFault("invalid_field", message, param=_CODE)
    raise died(Died(None))


def _told(reply: Mapping[str, Any]) -> str:
    name = _text(reply, "exception", _LONGEST_NAME)
    message = _text(reply, "message", _LONGEST_MESSAGE)
    told = f"{name}: {message}" if message else name
    traceback = _text(reply, "traceback", _LONGEST_TRACEBACK)
    if not traceback:
        return told
    return f"{told}\nTraceback (most recent call last):\n{traceback.rstrip()}"


def _text(reply: Mapping[str, Any], field: str, longest: int = 1 << 20) -> str:
    value = reply.get(field)
    return value[:longest] if isinstance(value, str) else ""
