from __future__ import annotations

import ast

import pytest

from proxy.sandbox.inside.lacks import Lacks


class Interpreter:
    """Has json, but no enum; no built-in `vars`; cannot parse `yield`."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    def attempt(self, line: str) -> Exception | None:
        self.tried.append(line)
        if "yield" in line:
            return NotImplementedError("no yield")
        if line in ("import enum", "from json import JSONDecoder"):
            return ImportError(line)
        if line == "vars" or line.startswith("raise"):
            return NameError(line)
        return None


def find(code: str, interpreter: Interpreter | None = None) -> str | None:
    attempt = (interpreter or Interpreter()).attempt
    return Lacks().find(code, ast.parse(code), attempt)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("def f():\n    yield 1", "no yield"),
        ("import enum", "the module enum"),
        ("def f():\n    import json, enum as e", "the module enum"),
        ("from json import JSONDecoder", "JSONDecoder of the module json"),
        ("result = vars()", "the built-in vars"),
        ("result = open('/tmp/x').read()", "files"),
    ],
)
def test_what_is_lacking_is_named(code: str, what: str) -> None:
    assert find(code) == what


@pytest.mark.parametrize(
    "code",
    [
        "import json\nresult = json.dumps(len([1]))",
        "def vars(): return 1\nresult = vars()",
        "def f(open): return open",
        "from json import loads as vars\nvars('1')",
        "result = not_defined_anywhere",
        "",
    ],
)
def test_nothing_is_lacking_where_all_is_there_or_all_would_fail(code: str) -> None:
    assert find(code) is None


def test_the_code_itself_is_never_run() -> None:
    interpreter = Interpreter()
    find("import json\nprint(json)", interpreter)
    assert interpreter.tried == [
        "if 0:\n import json\n print(json)\n pass\n",
        "import json",
        "print",
    ]


def test_answers_are_remembered() -> None:
    interpreter, lacks = Interpreter(), Lacks()
    for code in ("import json", "import json\nx = 1"):
        lacks.find(code, ast.parse(code), interpreter.attempt)
    assert interpreter.tried.count("import json") == 1
