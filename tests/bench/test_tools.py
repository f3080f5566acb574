"""The two C programs against each other, and the load against replies that are bad."""

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench import heads
from tests.bench.build import BenchError, compiled
from tests.bench.subject import Subject
from tests.bench.workloads import Request, Sample, parse_sseload
from tests.parts.ports import free_port

SECONDS = "0.6"
Load = Callable[[int, Request, int, int], Sample]

# Not a missing part: nothing that is shipped needs a C compiler.
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None,
    reason="the bench's tools need Linux and a C compiler",
)


@pytest.fixture
def mock(tmp_path: Path) -> Iterator[Subject]:
    port = free_port()
    command = (str(compiled("mock_upstream", "cc")), str(port))
    with Subject("mock", port, command, folder=tmp_path) as mock:
        yield mock


@pytest.fixture
def run_load(tmp_path: Path) -> Load:
    """Load a port for a moment and answer the sample."""

    def run(port: int, request: Request, connections: int, chunks: int) -> Sample:
        head, body = tmp_path / "head", tmp_path / "body"
        head.write_bytes(heads.head(request.head, f"127.0.0.1:{port}", request.body))
        body.write_bytes(request.body)
        numbers = (port, connections, chunks, SECONDS, 0, 0)
        program = compiled("sseload", "cc")
        command = [str(part) for part in (program, *numbers, head, body)]
        done = subprocess.run(command, capture_output=True, timeout=20, check=True)
        return parse_sseload(done.stdout.decode())

    return run


@contextmanager
def answering(reply: bytes) -> Iterator[int]:
    """Serve `reply` to whatever is asked, once a connection; answers the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer, args=(server, reply))
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _answer(server: socket.socket, reply: bytes) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(5)
            connection.recv(65536)
            connection.sendall(reply)


@pytest.mark.parametrize("name", ["openai", "openai-async"])
@pytest.mark.parametrize("pause_ms", [0, 2])
def test_streams_arrive_whole(
    mock: Subject, run_load: Load, name: str, pause_ms: int
) -> None:
    sample = run_load(mock.port, Request(name, heads.stream(10, pause_ms)), 4, 10)
    assert sample["wrong"] == 0
    assert sample["done_all"] > 0
    assert sample["n"] >= 10 * sample["done_all"]


def test_a_stream_of_messages_ends_otherwise(run_load: Load) -> None:
    end = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    for body, bad in ((b"@T" + b"0" * 16 + end, 0), (b"@T" + b"0" * 16, 1)):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        with answering(head + body) as port:
            asked = heads.spoken(1, 0, translated=True)
            sample = run_load(port, Request("anthropic", asked), 1, 1)
        assert sample["done_all"] > 0
        assert sample["bad"] == bad * sample["done_all"]


def test_whole_replies_arrive(mock: Subject, run_load: Load) -> None:
    sample = run_load(mock.port, Request("openai", heads.chat()), 4, 0)
    assert sample["wrong"] == 0
    assert sample["n"] == sample["done_all"] > 0


def test_a_large_body_is_taken_in_whole(mock: Subject, run_load: Load) -> None:
    sample = run_load(mock.port, Request("openai", heads.image()), 1, 0)
    assert sample["wrong"] == 0
    assert sample["done_all"] > 0


def test_another_number_of_chunks_than_expected_is_bad(
    mock: Subject, run_load: Load
) -> None:
    sample = run_load(mock.port, Request("openai", heads.stream(10, 0)), 4, 11)
    assert sample["bad"] == sample["done_all"] > 0


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK",
        b"",
    ],
    ids=["refused", "cut stream", "no size", "cut body", "too much", "nothing"],
)
def test_a_reply_that_is_none_is_an_error(run_load: Load, reply: bytes) -> None:
    with answering(reply) as port:
        sample = run_load(port, Request("openai", heads.stream(1, 0)), 1, 1)
    assert sample["errors"] > 0
    assert sample["done_all"] == 0


@pytest.mark.parametrize("size", [1, 2, 7, 50])
def test_chunks_may_be_cut_anywhere(run_load: Load, size: int) -> None:
    body = b"data: @T0000000000000000 t\n\n" * 3 + b"data: [DONE]\n\n"
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    reply = b"".join(b"%X;x=y\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with answering(head + reply + b"0\r\nTrailer: x\r\n\r\n") as port:
        sample = run_load(port, Request("openai", heads.stream(3, 0)), 1, 3)
    assert sample["bad"] == 0
    assert sample["done_all"] > 0


def test_a_stream_that_ends_without_its_last_event_is_bad(run_load: Load) -> None:
    reply = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"14\r\n@T0000000000000000\n\n\r\n0\r\n\r\n"
    )
    with answering(reply) as port:
        sample = run_load(port, Request("openai", heads.stream(1, 0)), 1, 1)
    assert sample["bad"] == sample["done_all"] > 0


def test_the_mock_tells_its_models(mock: Subject) -> None:
    with socket.create_connection(("127.0.0.1", mock.port), timeout=5) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert json.loads(body)["data"][0]["id"] == "mock"


def test_a_subject_that_ends_at_once_says_its_last_words(tmp_path: Path) -> None:
    code = "import sys; sys.exit('no port for me')"
    command = (sys.executable, "-c", code)
    subject = Subject("failing", free_port(), command, folder=tmp_path)
    with pytest.raises(BenchError, match="no port for me"):
        subject.start()
    with pytest.raises(BenchError, match="not running"):
        subject.pids()


def test_stopping_a_subject_ends_what_it_started(tmp_path: Path) -> None:
    port = free_port()
    code = (
        "import http.server, subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "class Ready(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers()\n"
        f"http.server.HTTPServer(('127.0.0.1', {port}), Ready).serve_forever()\n"
    )
    subject = Subject("family", port, (sys.executable, "-c", code), folder=tmp_path)
    with subject:
        assert subject.started_in_s > 0
        family = subject.pids()
        assert len(family) == 2
    # They are killed by now; the kernel may still be about it.
    while any(_runs(pid) for pid in family):
        pass


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in ("Z", "X")
