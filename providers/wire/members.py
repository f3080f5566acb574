"""The top-level members of a JSON object, byte-exactly: read, and edited.

Reading checks the whole text and parses none of it but what is asked for. Bodies
without white space, as the SDKs send them, are quick: 1.6 µs for 520 bytes, 3.5
for 10 KB, 2 ms for 10 MiB; others cost about 1 µs more a member. An edit is 2 µs
and one copy (splice.py).
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sized
from typing import Final

import msgspec

from providers.wire import peek
from providers.wire.splice import Span, splice

_STEP: Final = 1 << 16
# What a request may hold at its top level. Each costs memory and microseconds, so
# large bodies are counted before they are taken apart.
_MOST: Final = 1000
_LARGE: Final = 1 << 20
_SMALL: Final = 32 << 10
_BOM: Final = b"\xef\xbb\xbf"
_space: Final = re.compile(rb"[ \t\r\n]*").match
_colon: Final = re.compile(rb"[ \t\r\n]*:?[ \t\r\n]*").match
_comma: Final = re.compile(rb"[ \t\r\n]*,?[ \t\r\n]*").match
_string: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL).match


_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_unreadable: Final = (msgspec.MsgspecError, RecursionError)
# Typed by hand: a Raw is a buffer, and msgspec does not say so.
_join: Final[Callable[[Iterable[msgspec.Raw]], Sized]] = b"".join
_view: Final[Callable[[msgspec.Raw], Sized]] = memoryview


class MalformedJSON(ValueError):
    """The bytes are not one JSON object; the message is for whoever sent them."""


class WrongType(ValueError):
    """A member holds another type than it must: `name`, `expected`."""

    def __init__(self, name: str, expected: str) -> None:
        super().__init__(f"{name} must be {expected}")
        self.name = name
        self.expected = expected


class Members(msgspec.Struct, eq=False):
    """A body taken apart; made by read_members. `body` is what was read.

    `raws` are its members as they came, `spans` where; None: laid out without any
    white space, so that their sizes tell. (A Struct is built in C.)
    """

    body: bytes
    raws: dict[str, msgspec.Raw]
    spans: dict[str, Span] | None

    def __repr__(self) -> str:
        return f"Members({', '.join(self.raws)})"  # what somebody asked is not for logs

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self.raws)

    def __contains__(self, name: object) -> bool:
        return name in self.raws

    def raw(self, name: str) -> bytes | None:
        """Copy a value's bytes as they came; None when the member is absent."""
        found = self.raws.get(name)
        return None if found is None else bytes(found)

    def text(self, name: str) -> str | None:
        """Read a string; None when absent or null."""
        found = self.value(name)
        if found is None or isinstance(found, str):
            return found
        raise WrongType(name, "a string")

    def flag(self, name: str) -> bool | None:
        """Read true or false; None when absent or null."""
        found = self.value(name)
        if found is None or isinstance(found, bool):
            return found
        raise WrongType(name, "true or false")

    def value(self, name: str) -> object:
        """Parse a value; None when absent or null.

        Raises WrongType for what Python cannot hold (half a surrogate pair).
        """
        raw = self.raws.get(name)
        if raw is None:
            return None
        try:
            return msgspec.json.decode(raw)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise WrongType(name, "a readable value") from error

    def splice(
        self, set_fields: Mapping[str, bytes], drop_fields: Collection[str] = ()
    ) -> bytes:
        """Answer the body with members set to new JSON text, and others taken out.

        A name in both is set. With nothing to change the answer is `body` itself;
        otherwise one copy, in which a new member stands at the end.
        """
        raws = self.raws
        changed = {
            name: text
            for name, text in set_fields.items()
            if name not in raws or not _is_same(raws[name], text)
        }
        dropped = {
            name for name in drop_fields if name in raws and name not in set_fields
        }
        if not changed and not dropped:
            return self.body
        if self.spans is None:
            if not dropped and raws and raws.keys().isdisjoint(changed):
                return _lengthened(self.body, _ending(changed))
            self.spans = _dense_spans(raws)
        return splice(self.body, self.spans, changed, dropped)

    def edited(self, edits: Edits) -> bytes:
        """As `splice`. Most bodies only get members that they had not: a copy of the
        body and a text that is there already (bench: CPU per request).
        """
        if self.spans is None and self.raws and edits.names.isdisjoint(self.raws):
            return _lengthened(self.body, edits.ending)
        return self.splice(edits.set_fields, edits.drop_fields)


class Edits(msgspec.Struct, frozen=True):
    """What is changed in many a body; made by edits_of. `names` are the members that it
    is about, `ending` the end of a body that lacks all of them.
    """

    set_fields: Mapping[str, bytes]
    drop_fields: Collection[str]
    names: frozenset[str]
    ending: bytes


def edits_of(set_fields: Mapping[str, bytes], drop_fields: Collection[str]) -> Edits:
    """Prepare what `splice` would be given again and again."""
    names = frozenset((*set_fields, *drop_fields))
    return Edits(set_fields, drop_fields, names, _ending(set_fields))


def read_members(body: bytes) -> Members:
    """Take a JSON object apart. Raises MalformedJSON.

    Refused besides syntax errors: anything but an object, invalid UTF-8, a byte
    order mark, NaN and Infinity, a top-level key twice (also when escaped), more
    than 1000 of them, and nesting deeper than the interpreter's stack.
    """
    size = len(body)
    if size <= _SMALL and body.isascii():  # most; the rest is looked at twice
        try:
            raws = _decode_object(body)
        except _unreadable:
            return _read_carefully(body)
        count = len(raws)
        # As below, without a call (bench: CPU per request).
        sizes = len("".join(raws)) + len(_join(raws.values()))
        if 1 + 4 * count + sizes == size and count <= _MOST:
            return Members(body, raws, None)
    return _read_carefully(body)


def _size_of(raws: dict[str, msgspec.Raw], size: int) -> int:
    """Answer how many characters names and bytes values have, of a body of `size`."""
    if size <= _SMALL:  # to copy is quicker than to look (bench: CPU per request)
        return len("".join(raws)) + len(_join(raws.values()))
    return sum(map(len, raws)) + sum(map(len, map(_view, raws.values())))


def _read_carefully(body: bytes) -> Members:
    if not body.isascii() or body.startswith(_BOM):
        _check_encoding(body)
    try:
        source, raws = _decode(body)
    except msgspec.ValidationError as error:
        raise MalformedJSON("the body must be one JSON object") from error
    except msgspec.DecodeError as error:
        raise MalformedJSON(str(error)) from error
    except RecursionError as error:
        raise MalformedJSON("the JSON is nested too deeply") from error
    # Without white space the members are all there is, and no key came twice: a
    # second one, or an escape in a key, would make the body longer than their sum.
    size = 1 + 4 * len(raws) + _size_of(raws, len(body)) if raws else 2
    if size == len(body) and source is body:
        return Members(body, raws, None)
    spans = _walk(source, raws)
    if source is not body:
        raws = {
            name: msgspec.Raw(body[span.value : span.end])
            for name, span in spans.items()
        }
    return Members(body, raws, spans)


def with_member(raw_object: bytes, name: str, value: bytes) -> bytes:
    """Answer a JSON object with one member set; every other byte stays.

    Raises MalformedJSON when `raw_object` is no object.
    """
    return read_members(raw_object).splice({name: value})


def _decode(body: bytes) -> tuple[bytes, peek.Object]:
    """Decode the body, or else a text of the same layout without lone surrogates."""
    try:
        return body, _bounded(body)
    except msgspec.DecodeError:
        source = peek.without_surrogates(body)
        if source == body:
            raise
        return source, _bounded(source)


def _bounded(body: bytes) -> peek.Object:
    if len(body) <= _LARGE or not peek.has_more_members(body, _MOST):
        raws = peek.decode(body)
        if len(raws) <= _MOST:
            return raws
    raise MalformedJSON(f"the body has more than {_MOST} members")


def _check_encoding(body: bytes) -> None:
    if body.startswith(_BOM):
        raise MalformedJSON("the body begins with a byte order mark")
    # In steps: a body of many megabytes is not to be copied as text.
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(body)
    try:
        for start in range(0, len(body), _STEP):
            decoder.decode(view[start : start + _STEP])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise MalformedJSON("the body is not valid UTF-8") from error


def _lengthened(body: bytes, ending: bytes) -> bytes:
    """Put another end to a body that has members, and no white space."""
    return b"".join((memoryview(body)[:-1], ending))


def _ending(added: Mapping[str, bytes]) -> bytes:
    """The end of a body to which members are added."""
    parts: list[bytes] = []
    for name, text in added.items():
        parts += b",", json.dumps(name).encode(), b":", text
    parts.append(b"}")
    return b"".join(parts)


def _is_same(raw: msgspec.Raw, text: bytes) -> bool:
    return len(memoryview(raw)) == len(text) and bytes(raw) == text


def _dense_spans(raws: dict[str, msgspec.Raw]) -> dict[str, Span]:
    spans = {}
    at = 1
    for name, raw in raws.items():
        value = at + len(name) + 3
        end = value + len(memoryview(raw))
        spans[name] = Span(at, value, end)
        at = end + 1
    return spans


def _walk(body: bytes, raws: dict[str, msgspec.Raw]) -> dict[str, Span]:
    """Find each member in a body that is known to be valid. Raises MalformedJSON.

    `raws` has the keys in the order of their first appearance. Where the bytes do
    not follow it member by member, a key has come twice.
    """
    spans = {}
    at = _end(_space(body, body.index(b"{") + 1))
    for name, raw in raws.items():
        value = _end(_colon(body, _end_of_key(body, at, name)))
        found = memoryview(raw)
        if not body.startswith(found, value):
            raise _twice(name)
        end = value + len(found)
        spans[name] = Span(at, value, end)
        at = _end(_comma(body, end))
    if body[at : at + 1] != b"}":
        raise _twice(_key_at(body, at))
    return spans


def _end(match: re.Match[bytes] | None) -> int:
    assert match is not None  # these patterns match at any place of a valid object
    return match.end()


def _end_of_key(body: bytes, at: int, name: str) -> int:
    plain = b'"%b"' % name.encode()
    if body.startswith(plain, at):
        return at + len(plain)
    if _key_at(body, at) != name:
        raise _twice(_key_at(body, at))
    return _end(_string(body, at))


def _key_at(body: bytes, at: int) -> str:
    found = _string(body, at)
    return str(json.loads(found[0])) if found else ""


def _twice(name: str) -> MalformedJSON:
    return MalformedJSON(f"the key {json.dumps(name[:100])} appears twice")
