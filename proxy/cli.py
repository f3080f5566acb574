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
from typing import TYPE_CHECKING, Final

from proxy import __version__
from proxy.config.options import Options, flags
from proxy.config.problems import did_you_mean

if TYPE_CHECKING:
    from proxy.config import Loaded, Problem

FINE, FAILED, BAD_USAGE = 0, 1, 2
_KEYS_VERB: Final = "keys"


def run(arguments: Sequence[str]) -> int:
    """Run one command line; answers the exit code."""
    if arguments[:1] == [_KEYS_VERB]:  # has verbs of its own
        return _keys_verbs(arguments[1:])
    given = parse(arguments)
    options = Options(**{flag.name: getattr(given, flag.name) for flag in flags()})
    try:
        return VERBS[given.verb][0](options)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader of our output has gone (`… | head`); nothing is left to say
        sys.stderr.close()
        return FAILED


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
    if given.verb not in VERBS:
        hint = did_you_mean(given.verb, VERBS)
        made.error(f"unknown verb {given.verb}{hint}; known are {', '.join(VERBS)}")
    return given


def parser() -> argparse.ArgumentParser:
    """The parser of all flags and verbs; every flag may stand before or after."""
    made = argparse.ArgumentParser(
        prog="python -m proxy",
        description="One OpenAI-compatible address in front of the models you run.",
        epilog="verbs:\n" + "\n".join(
            f"  {verb:14}{meaning}" for verb, (_, meaning) in VERBS.items()
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
    from proxy.app import serve

    return serve(loaded, options)


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


def _keys(_: Options) -> int:
    return _keys_verbs(())


def _keys_verbs(arguments: Sequence[str]) -> int:
    from proxy.keys import run as run_keys

    return run_keys(arguments)


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
    _KEYS_VERB: (_keys, "make, list, revoke and rotate keys; first on the line"),
}
