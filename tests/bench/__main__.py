"""Measure the gateway beside nginx and print the table of targets.

Everything runs on 127.0.0.1 and ends by itself: in at most seven minutes, with --quick
in one. Ratios hold within one run; compare those, not microseconds of two machines.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from tests.bench import plan, profiling, report
from tests.bench.build import CACHE, BenchError, prepare
from tests.bench.runner import STARTUP, Runner
from tests.bench.subjects import Lab
from tests.bench.workloads import QUIET_S, Workload

FULL_LIMIT_S: Final = 420.0
QUICK_LIMIT_S: Final = 52.0
OPEN_FILES: Final = 16_384


def main(argv: list[str]) -> int:
    options = parse(argv)
    signal.signal(signal.SIGTERM, _end)
    raise_open_files()
    try:
        tools = prepare()
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="run-") as folder:
            lab = Lab(tools, Path(folder))
            if options.profile:
                profiling.profile(lab, Path(folder), options.workloads[0])
                return 0
            return measure(lab, Path(folder), options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1


class Options(argparse.Namespace):
    quick: bool
    profile: bool
    only: str
    rounds: int
    workloads: list[Workload]
    startup: bool


def parse(argv: list[str]) -> Options:
    known = [STARTUP, *plan.workloads(quick=True)]
    parser = argparse.ArgumentParser(
        prog="bin/bench",
        description=__doc__,
        epilog=f"workloads: {', '.join(known)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--only", default="", metavar="A,B", help="only these")
    parser.add_argument("--rounds", type=int, default=0, help="default 3, quick 1")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="run one workload (wrk64, or the first of --only) under a profiler",
    )
    options = parser.parse_args(argv, Options())
    chosen = [name for name in options.only.split(",") if name]
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(known)}")
    if options.rounds < 0:
        parser.error("--rounds must be positive")
    available = plan.workloads(quick=options.quick)
    if not chosen:
        chosen = ["wrk64"] if options.profile else known
    options.startup = STARTUP in chosen
    options.workloads = [available[name] for name in chosen if name in available]
    if options.profile and not options.workloads:
        parser.error(f"--profile needs a workload with load, not {STARTUP}")
    return options


def measure(lab: Lab, folder: Path, options: Options) -> int:
    limit_s = QUICK_LIMIT_S if options.quick else FULL_LIMIT_S
    runner = Runner(lab, folder, limit_s, 0.0 if options.quick else QUIET_S)
    rounds = options.rounds or (1 if options.quick else 3)
    runner.run(options.workloads, rounds, startup=options.startup)
    facts = report.Facts.gather(pinned=bool(lab.pin), quick=options.quick)
    print(f"\n{report.render(runner.results, facts)}")
    for note in runner.notes:
        print(f"\n{note}")
    if not options.only:
        report.remember(runner.results, facts)
    return 1 if report.wrong_replies(runner.results) else 0


def raise_open_files() -> None:
    """Allow a thousand streams, each two sockets in a proxy; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    # Leaves by the `with` blocks, which end what was started.
    sys.exit(128 + signum)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
