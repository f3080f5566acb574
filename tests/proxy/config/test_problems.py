"""How a problem is told, and which one of several."""

from __future__ import annotations

import pytest

from proxy.config import ConfigError, Problem
from proxy.config.problems import Report, Source, did_you_mean, dotted, nearest


def test_a_path_reads_as_people_write_it() -> None:
    assert dotted(("providers", 0, "timeouts", "idle")) == "providers[0].timeouts.idle"
    assert dotted(()) == ""


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            Problem("c.yaml", 3, "server.port", "is bad"),
            "c.yaml:3: server.port: is bad",
        ),
        (Problem("c.yaml", None, "", "cannot be read"), "c.yaml: cannot be read"),
        (Problem("environment", None, "P", "is bad"), "environment: P: is bad"),
        (Problem(None, None, "server.port", "is bad"), "server.port: is bad"),
    ],
)
def test_a_problem_names_its_place(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_a_problem_is_placed_where_its_surroundings_were_written() -> None:
    report = Report()
    report.sources["providers",] = Source("c.yaml", 4)
    report.error(("providers", 0, "endpoint"), "is missing")
    (problem,) = report.errors.values()
    assert (problem.file, problem.line) == ("c.yaml", 4)


def test_the_first_problem_of_a_place_is_the_one_told() -> None:
    report = Report()
    report.error(("a",), "first")
    report.error(("a",), "second")
    with pytest.raises(ConfigError, match="a: first") as raised:
        report.raise_errors()
    assert len(raised.value.problems) == 1


def test_no_problem_raises_nothing() -> None:
    Report().raise_errors()


def test_the_nearest_word_ignores_case_and_underscores() -> None:
    known = ("maxBodyBytes", "port", "host")
    assert nearest("MAX_BODY_BYTES", known) == "maxBodyBytes"
    assert nearest("prot", known) == "port"
    assert nearest("xyz", known) is None
    assert did_you_mean("hots", known) == " (did you mean 'host'?)"
    assert did_you_mean("xyz", known) == ""
