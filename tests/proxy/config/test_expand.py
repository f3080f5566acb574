"""${…} in values: what it gives, and what is said when there is nothing to give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.config.expand import MAX_SECRET_BYTES, Expander
from proxy.config.problems import Report
from tests.proxy.config.conftest import Faults, Read


def expanded(value: Any, environ: dict[str, str], folder: Path) -> tuple[Any, Report]:
    report = Report()
    return Expander(environ, folder, report).tree({"k": value}).get("k"), report


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${env:A}", "one"),
        ("x-${env:A}-${env:B}-y", "x-one-two-y"),
        ("${env:A:-other}", "one"),
        ("${env:NONE:-other}", "other"),
        ("${env:NONE:-}", ""),
        ("${env:EMPTY:-other}", "other"),
        ("${env:EMPTY}", ""),
        ("${env:NONE:-http://a:1/b}", "http://a:1/b"),
        ("$${env:A}", "${env:A}"),
        ("$5 and {braces}", "$5 and {braces}"),
        ("${env:NEST}", "${env:A}"),
    ],
)
def test_variables_are_put_in(tmp_path: Path, text: str, expected: str) -> None:
    environ = {"A": "one", "B": "two", "EMPTY": "", "NEST": "${env:A}"}
    value, report = expanded(text, environ, tmp_path)
    assert value == expected
    assert not report.errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${env:NONE}", "the environment variable NONE is not set"),
        ("${env:}", "names no variable"),
        ("${env:A B}", "names no variable"),
        ("${vault:x}", "unknown expansion ${vault:x}; known are ${env:NAME}"),
        ("${HOME}", "unknown expansion ${HOME}"),
        ("${file:}", "unknown expansion"),
        ("${file:absent}", "the file absent cannot be read: "),
        ("${file:.}", "the file . cannot be read: "),
        ("${file:large}", "the file large is larger than 64 KiB"),
        ("${file:binary}", "the file binary is not UTF-8 text"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "large").write_bytes(b"x" * (MAX_SECRET_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    value, report = expanded(text, {}, tmp_path)
    assert value is None
    assert message in report.errors["k",].message


def test_a_file_is_read_beside_the_configuration_without_its_last_newline(
    tmp_path: Path,
) -> None:
    (tmp_path / "secret").write_text("hush\n")
    assert expanded("${file:secret}", {}, tmp_path)[0] == "hush"
    assert expanded(f"${{file:{tmp_path}/secret}}", {}, Path("/"))[0] == "hush"


def test_expansion_reaches_lists_and_maps_but_only_text(tmp_path: Path) -> None:
    value, _ = expanded([{"a": "${env:A}", "b": 3}, None], {"A": "1"}, tmp_path)
    assert value == [{"a": "1", "b": 3}, None]


def test_numbers_and_switches_may_come_from_the_environment(read: Read) -> None:
    config = read(
        """
        server: {port: "${env:P:-4000}"}
        discovery: {enabled: "${env:D}"}
        """,
        {"D": "off"},
    ).config
    assert config.server.port == 4000
    assert config.discovery.enabled is False


def test_one_missing_variable_is_one_problem(faults: Faults) -> None:
    assert faults(
        """
        providers:
          - id: a
            kind: vllm
            endpoint: ${env:WHERE}
        """
    ) == ["5: providers[0].endpoint: the environment variable WHERE is not set"]


def test_an_expanded_value_is_never_quoted(faults: Faults) -> None:
    told = faults(
        """
        server: {port: "${env:SECRET}", host: "${env:SECRET}"}
        logging: {format: "${env:SECRET}"}
        providers:
          - {id: "${env:SECRET}", kind: "${env:SECRET}"}
          - {id: b, kind: vllm, endpoint: "${env:SECRET}"}
        """,
        {"SECRET": "hunter two!"},
    )
    assert len(told) == 6
    assert "hunter" not in "".join(told)
