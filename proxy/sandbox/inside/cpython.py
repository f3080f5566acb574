"""Runs one job in full CPython, then ends. Only ever started in a jail."""

from __future__ import annotations

import _thread
import builtins
import importlib
import json
import os
import sys
import types
from typing import Any, Final

from proxy.sandbox.inside import look, walls
from proxy.sandbox.inside.channel import Channel, raised, result

_THREAD_STACK: Final = 1 << 20
_MOST_FRAMES: Final = 12


def main(text: str) -> None:
    settings = json.loads(text)
    channel = Channel(settings["replies"])
    walls.close_others(settings["replies"])
    walls.drop_user(settings["user"])
    walls.limit(settings)
    _thread.stack_size(_THREAD_STACK)
    channel.send({"kind": "ready"})
    job = channel.receive()
    if job is not None:
        channel.send(_perform(job, settings["outputBytes"]))
    os._exit(0)  # whatever threads and exit handlers the code has left


def _perform(job: dict[str, Any], limit: int) -> dict[str, Any]:
    given = job["input"]
    try:
        tree, compiled = look.parse(job["code"])
        entry = look.entry_of(tree)
    except (SyntaxError, look.Ambiguous) as error:
        return look.refused(error)
    refusal = look.refusal(entry, given)
    if refusal is not None:
        return refusal
    walls.limit_processor_time(job["timeout"])
    out, err = sys.stdout, sys.stderr
    try:
        value = _call(compiled, entry, given)
        reply = result(value, type(value).__name__, limit)
    except BaseException as error:
        reply = _told(error, job["code"])
    for stream in (out, err):
        _flush(stream)
    return reply


def _call(
    compiled: types.CodeType, entry: look.Entry | None, given: dict[str, Any]
) -> Any:
    # The code is a main module of its own: pickle and dataclasses look for it.
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    names = module.__dict__
    names["__builtins__"] = builtins
    if entry is None:
        names.update(given)
        exec(compiled, names)  # noqa: S102 -- what this process is for
        return names.get(look.RESULT)
    exec(compiled, names)  # noqa: S102
    value = names[entry.name](**given)
    return _awaited(value) if entry.is_async else value


def _awaited(value: Any) -> Any:
    # Dear to load, and seldom needed.
    return importlib.import_module("asyncio").run(value)


def _told(error: BaseException, code: str) -> dict[str, Any]:
    """Tell of an exception: its frames in the code alone, not those around it."""
    lines = code.splitlines()
    frames = []
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code
        if name.co_filename == look.CODE_NAME:
            frames.append((trace.tb_lineno, name.co_name))
        trace = trace.tb_next
    if len(frames) > _MOST_FRAMES:
        frames = frames[: _MOST_FRAMES // 2] + frames[-_MOST_FRAMES // 2 :]
    shown = [
        f'  File "{look.CODE_NAME}", line {line}, in {name}\n'
        f"    {lines[line - 1].strip() if 0 < line <= len(lines) else ''}\n"
        for line, name in frames
    ]
    return raised(type(error).__name__, _message(error), "".join(shown))


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return ""


def _flush(stream: Any) -> None:
    try:
        stream.flush()
    except BaseException:
        return
