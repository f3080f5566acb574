from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.wire.multipart import FieldFinder, MalformedForm, boundary_of

BOUNDARY = b"xyz"


def part(name: str, value: bytes, more: str = "") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return b"--xyz\r\n" + head.encode() + value + b"\r\n"


FILE = part("file", b"RIFF\r\n--xy\r\n\0model", '; filename="a.wav"')
FORMS = {
    "first": part("model", b"whisper") + FILE + b"--xyz--\r\n",
    "last": FILE + part("model", b"whisper") + b"--xyz--\r\n",
    "between": FILE + part("model", b"whisper") + part("n", b"1") + b"--xyz--",
    "preamble": b"ignored\r\n" + part("model", b"whisper") + b"--xyz--",
    "alike": part("file", b"--xyzabc\r\n--xyz1\r\n", '; filename="a"')
    + part("model", b"whisper")
    + b"--xyz--",
    "type": b"--xyz\r\nContent-Type: text/plain\r\ncontent-disposition:form-data;"
    b" name=model\r\n\r\nwhisper\r\n--xyz--",
}


def found_in(*pieces: bytes) -> FieldFinder:
    finder = FieldFinder(BOUNDARY, "model")
    for piece in pieces:
        finder.feed(piece)
    return finder


@pytest.mark.parametrize("form", FORMS)
def test_the_field_is_found_wherever_it_stands_however_it_arrives(form: str) -> None:
    body = FORMS[form]
    for cut in range(len(body) + 1):
        finder = found_in(body[:cut], body[cut:])
        assert finder.value == b"whisper", cut
        start, end = finder.span
        assert bytes(finder.head[start:end]) == b"whisper"
        assert bytes(finder.head) == body


@pytest.mark.parametrize("form", FORMS)
def test_one_byte_at_a_time(form: str) -> None:
    body = FORMS[form]
    finder = FieldFinder(BOUNDARY, "model")
    for at in range(len(body)):
        finder.feed(body[at : at + 1])
        if finder.found:
            break
    assert finder.value == b"whisper"


def test_the_rest_of_the_body_is_not_needed() -> None:
    finder = found_in(part("model", b"whisper"), b"--xyz\r\n")
    assert finder.found
    assert not finder.ended


def test_an_empty_value_is_a_value() -> None:
    finder = found_in(part("model", b"") + b"--xyz--")
    assert finder.found
    assert finder.value == b""


@pytest.mark.parametrize(
    "body",
    [
        FILE + b"--xyz--\r\n",
        part("remodel", b"x") + b"--xyz--",
        part("model2", b"x") + b"--xyz--",
        part("file", b"x", '; filename="model"') + b"--xyz--",
        part("file", b"x", '; filename="a; name=model; b"') + b"--xyz--",
        part("file", b"x", '; filename="\\"; name=model; \\""') + b"--xyz--",
        part("a", b"x", "\r\nX-Content-Disposition: form-data; name=model")
        + b"--xyz--",
        part("a", b"x", "\r\nX: content-disposition: form-data; name=model")
        + b"--xyz--",
        b"--xyz--",
    ],
)
def test_a_form_without_the_field_ends(body: bytes) -> None:
    finder = found_in(body)
    assert finder.ended
    assert not finder.found


def test_a_part_without_a_proper_head_is_refused() -> None:
    with pytest.raises(MalformedForm):
        found_in(b"--xyz\r\n" + b"x" * 10_000)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_no_bytes_break_the_finder(pieces: list[bytes]) -> None:
    finder = found_in(*pieces)
    assert bytes(finder.head) == b"".join(pieces)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=xyz", b"xyz"),
        ('Multipart/Form-Data; charset=utf-8; boundary="x y"', b"x y"),
        ('multipart/form-data; boundary="xyz"', b"xyz"),
        ("multipart/form-data", None),
        ("multipart/mixed; boundary=xyz", None),
        ("application/json", None),
        ("multipart/form-data; boundary=" + "x" * 300, None),
    ],
)
def test_the_boundary_is_read_from_the_content_type(
    content_type: str, boundary: bytes | None
) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "disposition",
    [
        'form-data; name="model"',
        "form-data;name=model",
        'Form-Data ; Name="model" ; filename="x"',
        'form-data; filename="a\\"; b"; name="model"',
        'form-data; filename="C:\\dir\\file.wav"; name="model"',
        "form-data; filename*=utf-8''x%20y; name=model",
    ],
)
def test_the_field_is_known_by_its_name_in_any_order(disposition: str) -> None:
    head = f"--xyz\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
    assert found_in(head, b"whisper\r\n--xyz--").value == b"whisper"


def test_a_head_made_of_dispositions_is_passed_in_one_go() -> None:
    """Backtracking over each of them again would take minutes."""
    line = b"Content-Disposition: form-data" + b"; a=b" * 20 + b"\r\n"
    head = b"--xyz\r\n" + line * 60 + b"\r\n"
    assert not found_in(*[head] * 200).found
