from __future__ import annotations

import http.server
import io
import threading
from pathlib import Path
from typing import Any

import pytest

from proxy.reports import tail
from tests.parts.ports import free_port

ROW: dict[str, Any] = {
    "id": "req_1", "time": "2026-11-21T08:00:00.123456Z", "status": 200,
    "endpoint": "chat", "duration_ms": 12.34, "first_token_ms": 1.0, "model": "qwen",
    "provider": "gpu", "prompt_tokens": 3, "completion_tokens": 5,
    "usage_source": "upstream", "cost": 0.0, "currency": "EUR", "code": None,
    "tenant": "default",
}  # fmt: skip


def test_a_request_is_a_line() -> None:
    text = tail.line(ROW)
    assert text.split() == [
        "2026-11-21T08:00:00.123", "200", "chat", "12.3ms", "first=1.0ms", "qwen", "at",
        "gpu", "tokens=3+5", "req_1",
    ]  # fmt: skip
    failed = ROW | {"code": "upstream_error", "tenant": "b", "cost": 0.5}
    text = tail.line(failed | {"model": "odd\x1b[31m", "usage_source": "none"})
    assert "upstream_error tenant=b" in text
    assert "cost=0.500000 EUR" in text
    assert "\x1b" not in text
    assert "tokens" not in text


def test_events_are_read_one_by_one_and_comments_left_out() -> None:
    stream = io.BytesIO(
        b': nothing yet\n\nevent: request\ndata: {"id":"a"}\n\n'
        b'event: missed\ndata: {"requests":7}\n\n'
    )
    first, second = tail.rows(stream)
    assert first == {"id": "a"}
    assert tail.line(second) == "… 7 requests were too many to be shown"


def test_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tail.run([]) == 1
    assert "local token cannot be read" in capsys.readouterr().err
    url = f"http://127.0.0.1:{free_port()}"
    assert tail.run(["--url", url, "--key", "x"]) == 1
    assert "No gateway answers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "hints"), [(401, ["--token FILE", "--key KEY"]), (403, ["--key KEY"])]
)
def test_who_is_refused_is_told_what_to_show(
    status: int, hints: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert tail.run(["--url", url, "--key", "wrong"]) == 1
    told = capsys.readouterr().err
    assert f"The gateway refuses: {status}" in told
    assert [hint for hint in hints if hint not in told] == []
