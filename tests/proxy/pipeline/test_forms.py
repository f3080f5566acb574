"""Multipart bodies stream through, the name of the model changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.parts.http_text import Message, chunk, post, whole
from tests.parts.inside import (
    OpenSite,
    Site,
)
from tests.parts.scripts import answers
from tests.parts.until import until


def error_of(reply: Message) -> Any:
    return json.loads(reply.body)["error"]


def renamed(**extra: Any) -> dict[str, Any]:
    model = {"id": "tiny", "providerId": "box", "upstreamModel": "org/tiny-1b", **extra}
    return {"models": [model]}


TRANSCRIBE = "/v1/audio/transcriptions"
FORM = "multipart/form-data; boundary=XX"
AUDIO = bytes(range(256)) * 1000 + b"\r\n--X\r\n--XY"


def part(name: str, value: bytes, *, file: bool = False) -> bytes:
    extra = b'; filename="a.wav"\r\ncontent-type: audio/wav' if file else b""
    return b'--XX\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (
        name.encode(), extra, value,
    )  # fmt: skip


def form(model: bytes, *, model_first: bool = True) -> bytes:
    parts = [part("model", model), part("file", AUDIO, file=True)]
    if not model_first:
        parts.reverse()
    return b"".join(parts) + part("language", b"en") + b"--XX--\r\n"


def post_form(body: bytes, *, chunked: bool = False, path: str = TRANSCRIBE) -> bytes:
    request = post(path, body).replace(b"application/json", FORM.encode())
    if not chunked:
        return request
    length = b"content-length: %d" % len(body)
    framed = b"".join(chunk(body[at : at + 9999]) for at in range(0, len(body), 9999))
    return request[: -len(body)].replace(length, b"transfer-encoding: chunked") + (
        framed + b"0\r\n\r\n"
    )


@pytest.mark.parametrize("model_first", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
async def test_a_form_streams_through_with_the_models_name_changed(
    open_site: OpenSite, model_first: bool, chunked: bool
) -> None:
    site = await open_site(answers(whole(b'{"text":"hi"}')), **renamed())
    body = form(b"tiny", model_first=model_first)
    reply = await site.ask(post_form(body, chunked=chunked))
    assert reply.body == b'{"text":"hi"}'
    assert reply.header("x-proxy-model") == "org/tiny-1b"
    [sent] = site.upstream.requests
    wanted = form(b"org/tiny-1b", model_first=model_first)
    assert sent.body == wanted
    assert sent.header("content-type") == FORM
    length = None if chunked else str(len(wanted))
    assert sent.header("content-length") == length
    record = await site.record()
    assert (record.model, record.upstream_model) == ("tiny", "org/tiny-1b")
    assert record.bytes_in == len(body)


async def test_the_upstream_sees_a_form_before_it_has_ended(
    open_site: OpenSite,
) -> None:
    site = await open_site(**renamed())
    request = post_form(form(b"tiny"))
    caller = await site.caller()
    caller.send(request[:-1000])
    await until(lambda: site.upstream.peers and len(site.upstream.peers[0]._received) > 1000,
                "the form's beginning at the upstream")  # fmt: skip
    assert not site.upstream.requests
    caller.send(request[-1000:])
    assert (await caller.reply()).status == 200


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (part("file", b"x") + b"--XX--\r\n", 400, "missing_field", "model"),
        (form(b""), 400, "missing_field", "model"),
        (b"no form at all", 400, "missing_field", "model"),
        (b"--XX\r\n" + b"x" * 9000, 400, "invalid_field", "body"),
        (form(b"none"), 404, "model_not_found", "model"),
    ],
)
async def test_a_form_that_will_not_do(
    site: Site, body: bytes, status: int, code: str, param: str
) -> None:
    reply = await site.ask(post_form(body))
    assert reply.status == status
    assert (error_of(reply)["code"], error_of(reply)["param"]) == (code, param)


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data"])
async def test_a_route_for_forms_takes_nothing_else(site: Site, kind: str) -> None:
    request = post(TRANSCRIBE, b"{}").replace(b"application/json", kind.encode())
    reply = await site.ask(request)
    assert reply.status == 415
    assert error_of(reply)["param"] == "content-type"


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("model_first", [True, False])
async def test_a_form_that_is_too_large(
    open_site: OpenSite, chunked: bool, model_first: bool
) -> None:
    site = await open_site(server={"maxBodyBytes": 50_000})
    body = form(b"tiny", model_first=model_first)
    reply = await site.ask(post_form(body, chunked=chunked))
    assert reply.status == 413
    assert error_of(reply)["code"] == "body_too_large"
    assert not site.upstream.requests
