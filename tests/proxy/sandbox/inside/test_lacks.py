from __future__ import annotations

import ast

import pytest

from proxy.sandbox.inside.lacks import Lacks, never_run


class Interpreter:
    """Has json, but no enum; no built-in `vars`."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    def attempt(self, line: str) -> Exception | None:
        self.tried.append(line)
        if line in ("import enum", "from json import JSONDecoder"):
            return ImportError(line)
        if line == "vars" or line.startswith("raise"):
            return NameError(line)
        return None


def find(code: str, interpreter: Interpreter | None = None) -> str | None:
    attempt = (interpreter or Interpreter()).attempt
    return Lacks().find(ast.parse(code), attempt)


@pytest.mark.parametrize(
    ("code", "what"),
    [
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
        "import json",
        "print",
    ]


def test_answers_are_remembered() -> None:
    interpreter, lacks = Interpreter(), Lacks()
    for code in ("import json", "import json\nx = 1"):
        lacks.find(ast.parse(code), interpreter.attempt)
    assert interpreter.tried.count("import json") == 1


@pytest.mark.parametrize(
    "code",
    [
        "",
        "# nothing",
        "if 1:\n    print(1)",
        "print(1)",
        'x = """\n a\n"""',
        "print(1)\n\n",
    ],
)
def test_what_is_only_to_be_parsed_is_never_run(
    code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(never_run(code), {})
    assert capsys.readouterr().out == ""
