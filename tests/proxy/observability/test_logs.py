from __future__ import annotations

import errno
import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.types import Attempt, Record
from proxy.observability import logs
from proxy.observability.logs import Format, RequestLog
from tests.parts.records import record_of

NOON = 1_750_000_000.25


def record(**more: Any) -> Record:
    facts: dict[str, Any] = {
        "id": "req_1",
        "operation": "chat",
        "started_at": 100.0,
        "client_request_id": "mine",
        "method": "POST",
        "path": "/v1/chat/completions",
        "peer": "127.0.0.1",
        "model": "qwen",
        "provider": "spark",
        "upstream_model": "Qwen/Qwen2.5",
        "stream": True,
        "status": 200,
        "attempts": [
            Attempt("desk", "q", 503, "upstream_error"),
            Attempt("spark", "Qwen/Qwen2.5", 200),
        ],
        "bytes_in": 321,
        "bytes_out": 4321,
        "prompt_tokens": 12,
        "completion_tokens": 34,
        "first_byte_at": 100.21,
        "ended_at": 101.5,
    }
    return record_of(**facts | more)


def written(made: Record, form: Format, tmp_path: Path) -> str:
    file = tmp_path / "log"
    with file.open("wb") as out:
        RequestLog(form, out.fileno(), wall=lambda: NOON).write(made)
    return file.read_text()


def test_text_line_tells_the_story_in_one_line(tmp_path: Path) -> None:
    assert written(record(), "text", tmp_path) == (
        "2025-06-15T15:06:40.250Z 200 chat           1500.0ms first_ms=210.0 "
        "model=qwen provider=spark upstream_model=Qwen/Qwen2.5 tokens=12+34 "
        "bytes=321/4321 attempts=2 tried=desk:upstream_error,spark id=req_1 client_id=mine\n"
    )


@pytest.mark.parametrize("memo", [None, {}])
@pytest.mark.parametrize("client_id", [None, "mi ne"])
def test_a_usual_line_is_the_same_however_it_is_written(
    memo: dict[object, Any] | None, client_id: str | None
) -> None:
    facts = {
        "model": "100%d \u202e",
        "tenant": "team %s",
        "client_request_id": client_id,
        "attempts": [Attempt("spark", "q", 200)],
    }
    made = record(memo=memo, **facts)
    line = logs._odd_line(b"12:00", made)
    assert line.count(b"%") == 2
    for _ in range(2):
        assert logs._text_line(b"12:00", made) == line


def test_text_line_is_short_where_there_is_little_to_say(tmp_path: Path) -> None:
    made = record_of(
        id="req_2",
        operation="not_found",
        started_at=5.0,
        status=404,
        code="not_found",
        path="/nope",
        ended_at=5.001,
    )
    assert written(made, "text", tmp_path) == (
        "2025-06-15T15:06:40.250Z 404 not_found         1.0ms bytes=0/0 "
        "code=not_found path=/nope id=req_2\n"
    )


def test_attempts_that_ended_alike_stand_together(tmp_path: Path) -> None:
    loading = [Attempt("spark", "q", 503, "model_loading") for _ in range(3)]
    made = record(attempts=[*loading, Attempt("desk", "q"), Attempt("spark", "q")])
    line = written(made, "text", tmp_path)
    assert " attempts=5 tried=spark:model_loading*3,desk,spark " in line


def test_one_attempt_is_no_story(tmp_path: Path) -> None:
    made = record(attempts=[Attempt("spark", "q", 500, "upstream_error")])
    assert "tried" not in written(made, "json", tmp_path)


def test_json_line_holds_every_fact(tmp_path: Path) -> None:
    line = written(record(code="upstream_error", tenant="team"), "json", tmp_path)
    assert json.loads(line) == {
        "time": "2025-06-15T15:06:40.250Z",
        "status": 200,
        "operation": "chat",
        "duration_ms": 1500.0,
        "first_token_ms": 210.0,
        "model": "qwen",
        "provider": "spark",
        "upstream_model": "Qwen/Qwen2.5",
        "prompt_tokens": 12,
        "completion_tokens": 34,
        "bytes_in": 321,
        "bytes_out": 4321,
        "attempts": 2,
        "tried": "desk:upstream_error,spark",
        "code": "upstream_error",
        "tenant": "team",
        "method": "POST",
        "path": "/v1/chat/completions",
        "id": "req_1",
        "client_request_id": "mine",
    }


def test_a_key_in_the_path_is_not_logged(tmp_path: Path) -> None:
    made = record(model=None, path="/lmstudio/~lai_secret/llm")
    for form in ("text", "json"):
        line = written(made, form, tmp_path)
        assert "lai_secret" not in line
        assert "/lmstudio/~…/llm" in line


def test_a_value_cannot_look_like_another_field(tmp_path: Path) -> None:
    line = written(record(model='x status=200 "q"'), "text", tmp_path)
    assert 'model="x status=200 \\"q\\""' in line


_TEXTS = st.text(min_size=1, max_size=300)


@pytest.mark.parametrize("form", ["text", "json"])
@given(model=_TEXTS, client=_TEXTS, path=_TEXTS, tenant=_TEXTS)
def test_nothing_can_forge_a_line_or_exceed_a_pipes_portion(
    form: Format,
    model: str,
    client: str,
    path: str,
    tenant: str,
) -> None:
    reader, writer = os.pipe()
    try:
        made = record(model=model, client_request_id=client, path=path, tenant=tenant,
                      provider=model, upstream_model=client, code=path)  # fmt: skip
        RequestLog(form, writer).write(made)
        line = os.read(reader, 1 << 16)
    finally:
        os.close(reader)
        os.close(writer)
    assert len(line) < 4096
    assert line.endswith(b"\n")
    assert line[:-1].decode().isprintable()
    if form == "json":
        assert json.loads(line)["id"] == "req_1"


def test_the_longest_line_is_within_a_pipes_portion(tmp_path: Path) -> None:
    wide = "\U0001f600" * 500
    made = record(model=wide, provider=wide, upstream_model=wide, code=wide,
                  tenant=wide, method=wide, path=wide, client_request_id="\\" * 128,
                  id="r" * 40)  # fmt: skip
    for form in ("text", "json"):
        assert len(written(made, form, tmp_path).encode()) < 4096


def test_a_closed_pipe_costs_lines_never_a_request() -> None:
    reader, writer = os.pipe()
    log = RequestLog("text", writer)
    os.close(reader)
    log.write(record())
    log.write(record())
    os.close(writer)
    assert log.lost == 1  # the second was not even tried


def test_a_closed_descriptor_costs_lines_never_a_request() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    log = RequestLog("text", writer)
    log.write(record())
    assert log.lost == 1


def test_a_reader_that_stalls_costs_lines_until_it_reads() -> None:
    reader, writer = os.pipe()
    try:
        log = RequestLog("json", writer)
        for _ in range(5000):  # more than any pipe holds; blocking would hang here
            log.write(record())
        assert log.lost > 0
        lost = log.lost
        os.read(reader, 1 << 20)
        log.write(record())
        assert log.lost == lost
    finally:
        os.close(reader)
        os.close(writer)


def test_a_full_disk_costs_lines_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with (tmp_path / "log").open("wb") as out:
        log = RequestLog("text", out.fileno())
        with monkeypatch.context() as disk:
            disk.setattr(os, "write", full)
            log.write(record())
        log.write(record())
    assert log.lost == 1
    assert (tmp_path / "log").read_text().count("\n") == 1


def test_a_log_that_is_off_writes_nothing(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as out:
        RequestLog("text", out.fileno(), enabled=False).write(record())
    assert (tmp_path / "log").read_bytes() == b""


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(form: Format, level: str = "info") -> tuple[io.StringIO, logging.Logger]:
    out = io.StringIO()
    logs.setup(level, form, out)
    return out, logging.getLogger("proxy.some")


@pytest.mark.usefixtures("restored")
def test_messages_are_one_line_of_text() -> None:
    out, log = lines("text")
    log.warning("upstream said %s", "a\n2025 ERROR forged")
    (line,) = out.getvalue().splitlines()
    assert line.endswith(" WARNING proxy.some: upstream said a\\n2025 ERROR forged")


@pytest.mark.usefixtures("restored")
def test_a_traceback_is_indented_below_its_message() -> None:
    out, log = lines("text")
    try:
        raise ValueError("x\nforged line")
    except ValueError:
        log.exception("failed")
    first, *rest = out.getvalue().splitlines()
    assert first.endswith("ERROR   proxy.some: failed")
    assert rest
    assert all(row.startswith("    | ") for row in rest)


@pytest.mark.usefixtures("restored")
def test_json_messages_are_one_object_each() -> None:
    out, log = lines("json")
    log.error("a\nb\x9b\ud800")
    try:
        raise ValueError("x\ny")
    except ValueError:
        log.exception("failed")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["level"], first["logger"]) == ("error", "proxy.some")
    assert first["message"] == "a\nb\x9b\ud800"
    assert out.getvalue().isascii()
    assert "ValueError: x\ny" in second["trace"]


@pytest.mark.usefixtures("restored")
def test_level_is_kept_and_setup_replaces_what_was_there() -> None:
    old, _ = lines("text", "debug")
    out, log = lines("text", "warning")
    log.info("quiet")
    log.warning("loud")
    assert old.getvalue() == ""
    assert "quiet" not in out.getvalue()
    assert out.getvalue().count("loud") == 1


@pytest.mark.parametrize("form", ["text", "json"])
def test_of_records_of_one_kind_the_line_is_the_same_as_ever(
    form: Format, tmp_path: Path
) -> None:
    memo: dict[object, Any] = {}
    for n in range(1, 4):
        facts: dict[str, Any] = {
            "id": f"req_{n}",
            "client_request_id": "10 % = a tenth",
            "tenant": "50 %d off",
            "attempts": [Attempt("spark", "Qwen/Qwen2.5", 200)],
            "stream": False,
            "started_at": 100.0 + n / 7,
            "first_byte_at": 100.25 + n,
            "ended_at": 101.5 + n,
            "prompt_tokens": n,
            "completion_tokens": 10 * n,
            "bytes_in": 100 * n,
            "bytes_out": 1000 * n,
        }
        plain = written(record(**facts), form, tmp_path)
        assert written(record(**facts, memo=memo), form, tmp_path) == plain
    assert len(memo) == (form == "text")
