"""The command line: flags and verbs.

Every verb imports what it runs inside its function, so that `--help` and a
mistyped flag cost nothing. Exit codes: 0 fine, 1 it failed, 2 it was asked
wrongly or the configuration cannot be used. Answers go to stdout, all else to
stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy import __version__
from proxy.config.options import Options, flags
from proxy.config.problems import did_you_mean

if TYPE_CHECKING:
    from proxy.config import Loaded, Problem

FINE, FAILED, BAD_USAGE = 0, 1, 2
_WORKER_VERB: Final = "worker"


def run(arguments: Sequence[str]) -> int:
    """Run one command line; answers the exit code."""
    if arguments[:1] == [_WORKER_VERB]:  # not for people
        return _worker(arguments[1:])
    if arguments and arguments[0] in OWN_ARGUMENTS:
        try:
            return OWN_ARGUMENTS[arguments[0]][0](arguments[1:])
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            sys.stderr.close()
            return FAILED
    given = parse(arguments)
    options = _options(given)
    try:
        return VERBS[given.verb][0](options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader of our output has gone (`… | head`); nothing is left to say
        sys.stderr.close()
        return FAILED


def _options(given: argparse.Namespace) -> Options:
    return Options(**{flag.name: getattr(given, flag.name) for flag in flags()})


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; exits with 2, saying what is known, if it is wrong.

    Not left to argparse, which takes the value of a mistyped flag for the verb.
    """
    made = parser()
    given, unknown = made.parse_known_args(arguments)
    known = [flag.text for flag in flags()]
    for text in unknown:
        name = text.partition("=")[0]
        made.error(f"unknown argument {name}{did_you_mean(name, known)}")
    if given.verb in OWN_ARGUMENTS:
        made.error(f"{given.verb} stands first on the line, before all flags")
    if given.verb not in VERBS:
        known = [*VERBS, *OWN_ARGUMENTS]
        hint = did_you_mean(given.verb, known)
        made.error(f"unknown verb {given.verb}{hint}; known are {', '.join(known)}")
    return given


def parser() -> argparse.ArgumentParser:
    """The parser of all flags and verbs; every flag may stand before or after."""
    made = argparse.ArgumentParser(
        prog="python -m proxy",
        description="One OpenAI-compatible address in front of the models you run.",
        epilog="verbs:\n" + "\n".join(
            f"  {verb:14}{meaning}"
            for verb, (_, meaning) in (*VERBS.items(), *OWN_ARGUMENTS.items())
        ) + "\n\nEvery option of the file is in docs/configuration.md.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )  # fmt: skip
    made.add_argument(
        "verb", nargs="?", default="serve", metavar="VERB",
        help="what to do; serve when left out",
    )  # fmt: skip
    made.add_argument("--version", action="version", version=f"local-ai {__version__}")
    for flag in flags():
        if flag.switch:
            made.add_argument(flag.text, action="store_true", help=flag.meaning)
        else:
            made.add_argument(
                flag.text,
                type=int if flag.number else str,
                choices=flag.choices,
                metavar=None if flag.choices else flag.shown,
                help=flag.meaning,
            )
    return made


def _serve(options: Options) -> int:
    loaded = _load(options)
    if loaded is None:
        return BAD_USAGE
    if loaded.config.server.workers > 1:
        from proxy.workers.supervisor import supervise

        return supervise(loaded.config, options)
    from proxy.app import serve

    return serve(loaded, options)


def _worker(arguments: Sequence[str]) -> int:
    """Be one of several workers: FOLDER NUMBER FLAGS…, as their parent says."""
    from proxy.app import serve
    from proxy.config import ConfigError, load
    from proxy.workers.seat import Seat

    folder, number, *rest = arguments
    options = _options(parse(rest))
    try:
        loaded = load(options)
    except ConfigError as error:  # it was fine a moment ago, when the parent read it
        _list(error.problems)
        return BAD_USAGE
    return serve(loaded, options, Seat(Path(folder), int(number)))


def _check_config(options: Options) -> int:
    loaded = _load(options)
    if loaded is None:
        return BAD_USAGE
    config = loaded.config
    place = loaded.file or "no file: built-in defaults, environment and flags"
    print(f"{place}: fine")
    print(
        f"providers: {len(config.providers)}, models: {len(config.models)}, "
        f"warnings: {len(loaded.warnings)}"
    )
    return FINE


def _routes(_: Options) -> int:
    from proxy.routes import ROUTES

    for route in ROUTES:
        print(f"{route.method:8}{route.path:46}{route.access:12}{route.tag}")
    return FINE


def _models(options: Options) -> int:
    loaded = _load(options)
    if loaded is None:
        return BAD_USAGE
    from proxy.doctor import models

    return models(loaded)


def _doctor(options: Options) -> int:
    loaded = _load(options)
    if loaded is None:
        return BAD_USAGE
    from proxy.doctor import examine

    return examine(loaded)


def _keys(arguments: Sequence[str]) -> int:
    from proxy.keys import run as run_keys

    return run_keys(arguments)


def _migrate(arguments: Sequence[str]) -> int:
    from proxy.upkeep import run_migrate

    return run_migrate(arguments)


def _prices(arguments: Sequence[str]) -> int:
    from proxy.upkeep import run_prices

    return run_prices(arguments)


def _tail(arguments: Sequence[str]) -> int:
    from proxy.reports.tail import run as run_tail

    return run_tail(arguments)


def _analyze(arguments: Sequence[str]) -> int:
    from proxy.reports.logs import run as run_logs

    return run_logs(arguments)


def _usage(arguments: Sequence[str]) -> int:
    from proxy.reports.usage import run as run_usage

    return run_usage(arguments)


def _load(options: Options) -> Loaded | None:
    """Load the configuration, telling what is odd; None after telling what is wrong."""
    from proxy.config import ConfigError, load

    try:
        loaded = load(options)
    except ConfigError as error:
        count = len(error.problems)
        _say(f"The configuration cannot be used: {count} problem{'s' * (count != 1)}.")
        _list(error.problems)
        _say("Every key is explained in docs/configuration.md.")
        return None
    _list(loaded.warnings, "warning: ")
    return loaded


def _list(problems: Sequence[Problem], prefix: str = "") -> None:
    for problem in problems:
        _say(f"  {prefix}{problem}")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


VERBS: Final[Mapping[str, tuple[Callable[[Options], int], str]]] = {
    "serve": (_serve, "run the gateway (the default)"),
    "check-config": (_check_config, "say everything that is wrong with the settings"),
    "routes": (_routes, "list every URL"),
    "models": (_models, "look for servers once and list their models"),
    "doctor": (_doctor, "find what is wrong on this machine"),
}
# These have arguments of their own, and stand first on the line.
OWN_ARGUMENTS: Final[Mapping[str, tuple[Callable[[Sequence[str]], int], str]]] = {
    "keys": (_keys, "make, list, revoke and rotate keys"),
    "migrate": (_migrate, "up, down or status of the database's tables"),
    "prices": (_prices, "import FILE: prices of clouds' models"),
    "tail": (_tail, "show requests as they finish"),
    "analyze": (_analyze, "tell how requests went"),
    "usage": (_usage, "tell what was used, and what it cost"),
}
