"""What no tracked file may hold: this or that machine's paths, registries, notes."""

from __future__ import annotations

import re

from tests.architecture.source import assert_none, text_files

# Put together from pieces, or this file would be the first to fail.
FORBIDDEN = re.compile(
    "|".join(
        (
            r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b",
            r"(?<![\w.])/(?:wo" + r"rk|ro" + r"ot|Us" + r"ers|ho" + r"me)/[\w.]+",
            r"/tm" + r"p/v\b",
            r"\bpy" + r"pi\.(?:org|python\.org)\b|python" + r"hosted\.org",
            r"registry\.(?:np" + r"mjs|yarn" + r"pkg)\.(?:org|com)",
            r"-----BEGIN [A-Z ]*PRIV" + r"ATE KEY-----",
            r"\bsk-(?:pr" + r"oj|ant)-[\w-]{24,}",
        )
    )
)


def test_no_file_holds_a_forbidden_word() -> None:
    assert_none(
        [
            f"{where}: {match.group()}"
            for where, text in text_files()
            for match in FORBIDDEN.finditer(text)
        ]
    )
