from __future__ import annotations

import pytest

from proxy.core.errors import CallerFault
from proxy.core.flags import BAD_USAGE, FAILED
from proxy.reports.command import FINE, Failed, answered, table
from proxy.reports.command import read_config as read
from proxy.storage.errors import NoDatabase


def test_columns_are_as_wide_as_what_they_hold() -> None:
    text = table(
        ("name", "count", "cost"), [("a", 1234567, 0.25), ("größer", None, 2.0)]
    )
    assert text.splitlines() == [
        "name    count      cost",
        "a       1,234,567  0.250000",
        "größer  -               2.0",
    ]


def test_what_comes_from_elsewhere_cannot_steer_a_terminal() -> None:
    assert "\x1b" not in table(("name",), [("\x1b[31m",)])


def test_failures_are_told_in_plain_words(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: Exception) -> int:
        def work() -> int:
            raise error

        return answered(work)

    assert answered(lambda: FINE) == FINE
    for error, code, told in (
        (Failed("no token"), FAILED, "no token"),
        (CallerFault("not_found", "none is kept"), FAILED, "none is kept"),
        (CallerFault("invalid_field", "`by` is odd"), BAD_USAGE, "`by` is odd"),
        (NoDatabase("none at /x"), BAD_USAGE, "none at /x"),
        (OSError("disk"), FAILED, "The records cannot be reached: disk."),
    ):
        assert fail(error) == code
        assert capsys.readouterr().err.strip() == told


def test_a_file_that_is_not_there_is_bad_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert answered(lambda: bool(read("/nowhere/config.yaml"))) == BAD_USAGE
    assert "/nowhere/config.yaml" in capsys.readouterr().err
