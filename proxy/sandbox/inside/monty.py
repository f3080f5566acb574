"""Runs jobs in monty, an interpreter of a part of Python, one after the other.

Each job has a session of its own, which ends with it. The interpreter is a process
beside this one, so that a crash in it is told of like any other failure.
"""

from __future__ import annotations

import ast
import contextlib
import json
from typing import Any, Final

import pydantic_monty as monty

from proxy.sandbox.inside import look, walls
from proxy.sandbox.inside.channel import Channel, raised, result
from proxy.sandbox.inside.lacks import Lacks, never_run

# Names that code of a user is unlikely to use; if it does, it spoils its own run.
_INPUT: Final = "_local_ai_input"
_VALUE: Final = "_local_ai_value"
_SESSIONS_OF_A_PROCESS: Final = 200
_MOST_FRAMES: Final = 12


def main(text: str) -> None:
    settings = json.loads(text)
    channel = Channel(settings["replies"])
    walls.close_others(settings["replies"])
    walls.drop_user(settings["user"])
    walls.limit(settings)
    lacks = Lacks()
    with monty.Monty(
        binary_path=settings["binary"],
        max_processes=1,
        max_checkouts_per_worker=_SESSIONS_OF_A_PROCESS,
    ) as pool:
        channel.send({"kind": "ready"})
        while (job := channel.receive()) is not None:
            channel.send(_perform(pool, job, settings, lacks))


def _perform(
    pool: monty.Monty, job: dict[str, Any], settings: dict[str, Any], lacks: Lacks
) -> dict[str, Any]:
    given = job["input"]
    try:
        tree, _ = look.parse(job["code"])
        entry = look.entry_of(tree)
    except (SyntaxError, look.Ambiguous) as error:
        return look.refused(error)
    refusal = look.refusal(entry, given)
    if refusal is not None:
        return refusal
    printed = Printed(settings["outputBytes"])
    try:
        if job["onlyIfAble"] and (what := _lacking(pool, tree, lacks)):
            return {"kind": "lacks", "what": what}
        with _session(pool, job["timeout"], settings["memoryBytes"]) as session:
            run = _Run(session, printed, job["code"])
            if job["onlyIfAble"] and (what := run.unsupported()):
                return {"kind": "lacks", "what": what}
            reply = run.perform(entry, given, settings["outputBytes"])
    except monty.MontyCrashedError:
        reply = raised("RuntimeError", "the interpreter crashed", "")
    except monty.MontyConversionError as error:
        reply = raised("TypeError", str(error), "")
    cut = printed.is_cut or reply.get("truncated", False)
    return reply | {"stdout": printed.out, "stderr": printed.err, "truncated": cut}


def _session(pool: monty.Monty, timeout_s: float, memory_bytes: int) -> Any:
    limits: monty.ResourceLimits = {
        "max_memory": memory_bytes,
        "max_feed_duration_secs": timeout_s,
        "max_total_sleep_secs": timeout_s,
    }
    return pool.checkout(limits=limits, os_policy={"sleep_system_max": timeout_s})


def _lacking(pool: monty.Monty, tree: ast.Module, lacks: Lacks) -> str | None:
    def attempt(line: str) -> Exception | None:
        with _session(pool, 1.0, 64 << 20) as session:
            try:
                session.feed_run(line)
            except monty.MontyError as error:
                return error
        return None

    return lacks.find(tree, attempt)


class Printed:
    """What the code printed, as much of it as was allowed."""

    def __init__(self, limit: int) -> None:
        self._pieces: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._left = {"stdout": limit, "stderr": limit}
        self.is_cut = False

    def __call__(self, stream: str, text: str) -> None:
        left = self._left[stream]
        self.is_cut = self.is_cut or len(text) > left
        self._pieces[stream].append(text[:left])
        self._left[stream] = max(0, left - len(text))

    @property
    def out(self) -> str:
        return "".join(self._pieces["stdout"])

    @property
    def err(self) -> str:
        return "".join(self._pieces["stderr"])


class _Run:
    """One job in its session. The code is fed as it came, so its lines are its own."""

    def __init__(
        self, session: monty.MontySession, printed: Printed, code: str
    ) -> None:
        self._session = session
        self._printed = printed
        self._code = code
        self._fed = 0  # which the interpreter names its sources after
        self._source = ""

    def unsupported(self) -> str | None:
        """Answer what of the code the interpreter cannot parse, in its words."""
        try:
            self._feed(never_run(self._code))
        except monty.MontyError as error:
            inner = error.exception()
            return str(inner) if isinstance(inner, NotImplementedError) else None
        return None

    def perform(
        self, entry: look.Entry | None, given: dict[str, Any], limit: int
    ) -> dict[str, Any]:
        self._source = f"<python-input-{self._fed}>"
        try:
            self._feed(
                self._code, {look.RESULT: None, **given} if entry is None else None
            )
            if entry is None:
                call, inputs = look.RESULT, None
            else:
                awaits = "await " if entry.is_async else ""
                call, inputs = f"{awaits}{entry.name}(**{_INPUT})", {_INPUT: given}
            value = self._feed(f"{_VALUE} = {call}\n{_VALUE}", inputs)
            return self._reply(value, limit)
        except monty.MontyError as error:
            return _told(error, self._source)

    def _reply(self, value: Any, limit: int) -> dict[str, Any]:
        type_name = str(self._feed(f"type({_VALUE}).__name__"))
        if isinstance(value, monty.MontyClassProxy):  # only inside has it its own repr
            value = str(self._feed(f"repr({_VALUE})"))
        return result(value, type_name, limit)

    def _feed(self, code: str, inputs: dict[str, Any] | None = None) -> Any:
        self._fed += 1
        return self._session.feed_run(code, inputs=inputs, print_callback=self._printed)


def _told(error: monty.MontyError, source: str) -> dict[str, Any]:
    """Tell of an exception: its frames in the code alone, which was fed as `source`."""
    inner = error.exception()
    frames: list[monty.Frame] = []
    with contextlib.suppress(AttributeError):  # not every kind has one
        frames = error.traceback()  # type: ignore[attr-defined]
    own = [frame for frame in frames if frame.filename == source]
    if len(own) > _MOST_FRAMES:
        own = own[: _MOST_FRAMES // 2] + own[-_MOST_FRAMES // 2 :]
    shown = "".join(
        f'  File "{look.CODE_NAME}", line {frame.line}, '
        f"in {frame.function_name or '<module>'}\n"
        f"    {(frame.source_line or '').strip()}\n"
        for frame in own
    )
    return raised(type(inner).__name__, str(inner), shown)
