"""What the bench makes of the programs it runs and of the numbers it gets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import heads, measure
from tests.bench.build import BenchError
from tests.bench.profiling import top_of_stacks
from tests.bench.record_heads import CLIENTS, generalise
from tests.bench.report import Facts, remember, render, table, wrong_replies
from tests.bench.runner import Results
from tests.bench.targets import TARGETS, rows
from tests.bench.workloads import duration_us, parse_sseload, parse_wrk

WRK = """Running 2s test @ http://127.0.0.1:9101
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.91ms  221.42us   6.55ms   83.21%
    Req/Sec    70.83k     2.75k   75.10k    85.00%
  Latency Distribution
     50%  860.00us
     75%    1.01ms
     90%    1.15ms
     99%    1.56ms
  140944 requests in 2.00s, 83.20MB read
{extra}Requests/sec:  70412.65
Transfer/sec:     41.57MB
"""
FACTS = Facts("abc1234", "2026-01-02T03:04:05+00:00", 2, "3.11.9", True, False)


def results(nginx_us: list[float], ours_us: list[float], wrong: float = 0) -> Results:
    return {
        "wrk64": [
            {
                "nginx": {"cpu_us": nginx, "p99_us": 1000.0, "wrong": 0.0},
                "ours": {"cpu_us": ours, "p99_us": 2500.0, "wrong": wrong},
            }
            for nginx, ours in zip(nginx_us, ours_us, strict=True)
        ]
    }


def test_wrk_is_read() -> None:
    assert parse_wrk(WRK.format(extra="")) == {
        "n": 140944,
        "per_s": 70412.65,
        "p50_us": 860.0,
        "p99_us": 1560.0,
        "wrong": 0,
    }


def test_refusals_and_socket_errors_of_wrk_are_wrong_replies() -> None:
    extra = (
        "  Socket errors: connect 0, read 3, write 0, timeout 2\n"
        "  Non-2xx or 3xx responses: 7\n"
    )
    assert parse_wrk(WRK.format(extra=extra))["wrong"] == 12


def test_a_report_without_figures_is_an_error_that_shows_it() -> None:
    with pytest.raises(BenchError, match="unable to connect"):
        parse_wrk("unable to connect to 127.0.0.1:1 Connection refused\n")


@pytest.mark.parametrize(
    ("text", "expected"), [("12.5us", 12.5), ("1.2ms", 1200), ("2s", 2e6), ("1m", 6e7)]
)
def test_durations_of_wrk_become_microseconds(text: str, expected: float) -> None:
    assert duration_us(text) == pytest.approx(expected)


def test_a_duration_in_an_unknown_unit_is_an_error() -> None:
    with pytest.raises(BenchError, match=r"3\.1h"):
        duration_us("3.1h")


def test_sseload_counts_chunks_or_else_replies() -> None:
    streams = {"chunks_all": 500, "done_all": 5, "bad": 1, "errors": 2}
    assert parse_sseload(json.dumps(streams))["n"] == 500
    assert parse_sseload(json.dumps(streams))["wrong"] == 3
    assert parse_sseload(json.dumps(streams | {"chunks_all": 0}))["n"] == 5


def test_a_figure_is_judged_by_the_median_of_ratios_within_rounds() -> None:
    row = rows(results([10, 20, 10], [18, 30, 40]))[0]
    assert (row.judged.median, row.judged.low, row.judged.high) == (1.8, 1.5, 4.0)
    assert (row.nginx, row.ours) == (10, 30)


@pytest.mark.parametrize(
    ("ours_us", "verdict"),
    [(17, "goal"), (17.1, "must"), (25, "must"), (25.1, "NOT MET")],
)
def test_the_verdict_says_which_bound_is_reached(ours_us: float, verdict: str) -> None:
    assert rows(results([10], [ours_us]))[0].verdict == verdict


def test_a_figure_with_a_goal_alone_is_not_said_to_reach_a_must() -> None:
    sample = {"chunks_s": 50_000.0, "wrong": 0.0}
    both = {"nginx": sample | {"cpu_us": 10.0}, "ours": sample | {"cpu_us": 13.0}}
    verdicts = {r.target.key: r.verdict for r in rows({"paced1000": [both]})}
    assert verdicts == {"pace_50k": "met", "chunk_cpu_50k": "goal not met"}


def test_pace_is_not_kept_by_wrong_streams() -> None:
    target = next(t for t in TARGETS if t.key == "pace_50k")
    good = {"ours": {"chunks_s": 49_900.0, "wrong": 0.0}}
    late = {"ours": {"chunks_s": 40_000.0, "wrong": 0.0}}
    wrong = {"ours": {"chunks_s": 49_900.0, "wrong": 1.0}}
    reached = [
        target.reached(target.judged(sample), target.must)
        for sample in (good, late, wrong)
    ]
    assert reached == [True, False, False]


def test_a_translated_chunk_is_judged_by_one_that_passes() -> None:
    sample = {"cpu_us": 50.0, "passing_cpu_us": 20.0, "wrong": 0.0}
    [row] = rows({"translated100": [{"nginx": sample, "ours": sample}]})
    assert (row.judged.median, row.verdict) == (2.5, "must")


def test_the_report_names_the_commit_and_every_row_that_was_measured() -> None:
    text = render(results([10], [18]), FACTS)
    assert "abc1234" in text.splitlines()[0]
    assert "1.80 × (1.80–1.80)" in text
    assert "10 MiB body" not in text


def test_wrong_replies_are_reported_and_counted() -> None:
    broken = results([10], [18], wrong=4)
    assert "WRONG: wrk64 through ours: 4 bad" in render(broken, FACTS)
    assert wrong_replies(broken) == 1
    assert wrong_replies(results([10], [18])) == 0


def test_history_gets_one_line_a_run(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    for ours_us in (18.0, 16.0):
        remember(results([10], [ours_us]), FACTS, path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["figures"]["request_cpu"] for line in lines] == [
        [1.8, 1.8, 1.8],
        [1.6, 1.6, 1.6],
    ]
    assert lines[0]["commit"] == "abc1234"


def test_columns_of_a_table_are_aligned() -> None:
    lines = table([("a", "b"), ("long cell", "c")]).splitlines()
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("name", sorted(CLIENTS))
def test_a_recorded_head_is_whole_and_filled_in(name: str) -> None:
    text = heads.head(name, "127.0.0.1:1234", b"{}")
    assert text.startswith(b"POST /")
    assert text.endswith(b"\r\n\r\n")
    assert b"\r\nHost: 127.0.0.1:1234\r\n" in text
    assert b"\r\nContent-Length: 2\r\n" in text
    assert b"\r\nConnection: keep-alive\r\n" in text
    assert text.count(heads.BENCH_KEY.encode()) == 1
    assert b"{" not in text


def test_what_changes_from_call_to_call_becomes_a_placeholder() -> None:
    head = b"POST / HTTP/1.1\r\nHost: 127.0.0.1:5\r\ncontent-length: 17\r\n\r\n"
    assert generalise(head) == (
        b"POST / HTTP/1.1\r\nHost: {host}\r\ncontent-length: {length}\r\n\r\n"
    )


def test_the_picture_is_ten_mebibytes() -> None:
    assert heads.IMAGE_BYTES <= len(heads.image()) < heads.IMAGE_BYTES + 1000


def test_bodies_are_what_they_say() -> None:
    asked = json.loads(heads.stream(40, 20))
    assert (asked["max_tokens"], asked["seed"], asked["stream"]) == (40, 20, True)
    assert "stream" not in json.loads(heads.chat())


def test_stacks_are_summed_by_their_top_and_by_presence() -> None:
    text = top_of_stacks("main;run;send 6\nmain;run 3\nmain;run;run 1\n")
    assert [line.split() for line in text.splitlines()[1:]] == [
        ["60.0%", "60.0%", "send"],
        ["40.0%", "100.0%", "run"],
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_tree_has_its_children_and_their_cost() -> None:
    idle = "print(1, flush=True); input()"
    parent = f"import subprocess as s, sys; s.run([sys.executable, '-c', {idle!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as top:
        try:
            assert top.stdout is not None
            assert top.stdout.readline() == b"1\n"
            found = measure.tree(top.pid)
            assert len(found) == 2
            assert found[0] == top.pid
            assert set(found) < set(measure.tree(os.getpid()))
            assert measure.cpu_us(found) > measure.cpu_us([top.pid]) > 0
            assert measure.pss_kib(found) > measure.pss_kib([top.pid]) > 0
        finally:
            top.communicate(b"\n")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_has_ended_costs_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert measure.cpu_us([process.pid]) == 0
    assert measure.pss_kib([process.pid]) == 0
