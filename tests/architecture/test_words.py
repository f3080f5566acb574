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
# Index options would send an installation somewhere else.
INDEX_OPTION = re.compile(
    r"^\s*(?:--(?:extra-)?index-url|--find-links|-i|-f)\b", re.MULTILINE
)


def test_no_file_holds_a_forbidden_word() -> None:
    assert_none(
        [
            f"{where}: {match.group()}"
            for where, text in text_files()
            for match in FORBIDDEN.finditer(text)
        ]
    )


def test_locks_name_no_index_and_pin_every_file() -> None:
    locks = [
        (where, text)
        for where, text in text_files()
        if re.fullmatch(r"requirements/(run|test|dev)\.txt", where)
    ]
    assert len(locks) == 3
    for where, text in locks:
        assert not INDEX_OPTION.search(text), where
        pins = re.findall(r"^[\w.-]+==", text, re.MULTILINE)
        assert pins
        assert len(
            re.findall(r"^[\w.-]+==[^\n]*\\\n +--hash=", text, re.MULTILINE)
        ) == len(pins)
