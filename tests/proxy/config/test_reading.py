"""YAML becomes plain values with lines; nothing in a file can hurt or hang."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.problems import Report
from proxy.config.reading import MAX_BYTES, MAX_VALUES, read_file


def values_of(tmp_path: Path, text: str | bytes) -> tuple[dict[str, Any], Report]:
    file = tmp_path / "file.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    report = Report()
    return read_file(file, report), report


def only_error(report: Report) -> str:
    (problem,) = report.errors.values()
    return f"{problem.line}: {problem.message}"


def test_plain_scalars_follow_the_core_schema(tmp_path: Path) -> None:
    text = """
    words: [no, on, 12:30, 2024-01-01, 0x10, 1_000, aa:bb]
    numbers: [3, -4, 0.5, 1e3, 010]
    others: [true, False, null, ~, ]
    quoted: ["3", 'true', "null"]
    """
    values, report = values_of(tmp_path, text)
    assert values == {
        "words": ["no", "on", "12:30", "2024-01-01", "0x10", "1_000", "aa:bb"],
        "numbers": [3, -4, 0.5, 1000.0, 10],
        "others": [True, False, None, None],
        "quoted": ["3", "true", "null"],
    }
    assert not report.errors


def test_each_key_and_item_knows_its_line(tmp_path: Path) -> None:
    _, report = values_of(tmp_path, "a:\n  b: 1\n  c:\n    - x\n    - y: 2\n")
    lines = {path: source.line for path, source in report.sources.items() if path}
    assert lines == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 3,
        ("a", "c", 0): 4,
        ("a", "c", 1): 5,
        ("a", "c", 1, "y"): 5,
    }


@pytest.mark.parametrize("text", ["", "\n\n", "# only words\n", "---\n", "null\n"])
def test_an_empty_file_says_nothing(tmp_path: Path, text: str) -> None:
    values, report = values_of(tmp_path, text)
    assert values == {}
    assert not report.errors


def test_a_byte_order_mark_is_no_character(tmp_path: Path) -> None:
    assert values_of(tmp_path, b"\xef\xbb\xbfa: 1\n")[0] == {"a": 1}


def test_a_key_given_twice_names_both_lines(tmp_path: Path) -> None:
    values, report = values_of(tmp_path, "a: 1\nb: 2\na: 3\n")
    assert values == {"a": 1, "b": 2}
    assert only_error(report) == "3: is given twice, first on line 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3\n", "2: is not valid YAML: "),
        ("a: 'open\n", "2: is not valid YAML: "),
        ("a:\n\t- 1\n", "2: is not valid YAML: "),
        ("- a\n- b\n", "1: must be a mapping"),
        ("just words\n", "1: must be a mapping"),
        ("a: 1\n---\nb: 2\n", "2: holds more than one document"),
        ("a: !!python/object:os.system x\n", "1: tags such as "),
        ("a: !secret x\n", "1: tags such as !secret are not allowed"),
        ("a: !!set {x}\n", "1: tags such as "),
        ("a:\n  [1, 2]: x\n", "2: a: a key must be plain text"),
        ("x: &x {y: 1}\na:\n  <<: *x\n", "3: merge keys (<<) are not known"),
        ("a: *nobody\n", "1: unknown alias *nobody"),
        ("a: &a [*a]\n", "1: unknown alias *a"),
        ("a: \x01\n", "None: is not valid YAML: it holds characters"),
        ("a: " + "[" * 40 + "]" * 40, "1: is nested more than 32 deep"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    values, report = values_of(tmp_path, text)
    assert values == {}
    assert only_error(report).startswith(message)


def test_other_encodings_are_told_with_their_line(tmp_path: Path) -> None:
    _, report = values_of(tmp_path, b"a: 1\nb: \xff\n")
    assert only_error(report) == "2: is not UTF-8 text"


def test_an_alias_stands_for_what_its_anchor_marks(tmp_path: Path) -> None:
    values, _ = values_of(tmp_path, "a: &x {k: [1]}\nb: *x\n")
    assert values == {"a": {"k": [1]}, "b": {"k": [1]}}


def test_aliases_do_not_multiply_without_bound(tmp_path: Path) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    _, report = values_of(tmp_path, "\n".join(lines))
    assert only_error(report).endswith(f"holds more than {MAX_VALUES} values")


def test_a_very_deep_file_is_no_crash(tmp_path: Path) -> None:
    _, report = values_of(tmp_path, "a: " + "[" * 100_000)
    assert only_error(report) == "1: is nested more than 32 deep"


def test_a_file_too_large_is_refused(tmp_path: Path) -> None:
    _, report = values_of(tmp_path, b"#" * (MAX_BYTES + 1))
    assert only_error(report) == "None: is larger than 4 MiB"


@pytest.mark.parametrize("name", ["absent.yaml", "."])
def test_a_file_that_cannot_be_opened_says_why(tmp_path: Path, name: str) -> None:
    report = Report()
    assert read_file(tmp_path / name, report) == {}
    assert only_error(report).startswith("None: cannot be read: ")


@given(
    st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"#%@`,? \n\t0.~<"), max_size=60)
)
def test_no_text_makes_it_fail_otherwise(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    values, report = values_of(tmp_path_factory.getbasetemp(), text)
    assert isinstance(values, dict)
    assert all(problem.message for problem in report.errors.values())
