from __future__ import annotations

import json

import pytest

from providers.errors import Blame
from providers.faults import MAX_MESSAGE_CHARS, read_fault, read_retry_after, read_words


def body(value: object) -> bytes:
    return json.dumps(value).encode()


OPENAI = {
    "error": {
        "message": "Unknown parameter: 'top_k'.",
        "type": "invalid_request_error",
        "param": "top_k",
        "code": "unknown_parameter",
    }
}
VLLM_OLD = {
    "object": "error",
    "message": "max_tokens is too large",
    "type": "BadRequestError",
    "param": "max_tokens",
    "code": 400,
}
FASTAPI = {
    "detail": [
        {
            "type": "missing",
            "loc": ["body", "messages", 0, "role"],
            "msg": "Field required",
        },
        {"type": "int", "loc": ["body", "n"], "msg": "Not a number"},
    ]
}


LLAMACPP = {
    "error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}
}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, b""),
        (404, b"404 page not found\n"),
        (404, b"404: Not Found"),
        (404, b"<html><title>404 Not Found</title></html>"),
        (404, body({"detail": "Not Found"})),
        (404, body(LLAMACPP)),
        (404, body({"error": {"message": "Invalid URL (POST /v1/responses)"}})),
        (404, b"Cannot POST /v1/messages"),
        (200, body({"error": "Unexpected endpoint or method. (POST /v1/messages)"})),
        (405, body({"detail": "Method Not Allowed"})),
    ],
)
def test_an_address_that_is_not_there_is_told_from_a_model(
    status: int, said: bytes
) -> None:
    assert read_fault(status, (), said).lacks_route


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (404, body({"error": "model 'x' not found"})),
        (404, body({"error": {"message": "Not found", "code": "model_not_found"}})),
        (404, body({"error": {"message": "The model `x` does not exist."}})),
        (404, body({"type": "error", "error": {"message": "model: x"}})),
        (404, body({"error": {"message": "Response with id 'r' not found."}})),
        (404, body({"error": {"message": "models/x is not found for API v1"}})),
        (400, b""),
        (400, body({"detail": "Not Found"})),
        (500, b"<html><title>404 Not Found</title></html>"),
    ],
)
def test_what_is_missing_at_an_address_is_no_missing_address(
    status: int, said: bytes
) -> None:
    assert not read_fault(status, (), said).lacks_route


@pytest.mark.parametrize(
    ("document", "message", "code", "type_", "param"),
    [
        (
            OPENAI,
            "Unknown parameter: 'top_k'.",
            "unknown_parameter",
            "invalid_request_error",
            "top_k",
        ),
        (
            {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}},
            "model: x",
            None,
            "not_found_error",
            None,
        ),
        ({"error": "model 'x' not found"}, "model 'x' not found", None, None, None),
        (
            {"error": {"code": 400, "message": "bad", "type": "invalid_request_error"}},
            "bad",
            None,
            "invalid_request_error",
            None,
        ),
        ({"error": {"code": "1211", "message": "no such model"}}, "no such model", "1211", None, None),
        (VLLM_OLD, "max_tokens is too large", None, "BadRequestError", "max_tokens"),
        (
            FASTAPI,
            "messages.0.role: Field required; n: Not a number",
            None,
            None,
            "messages.0.role",
        ),
        ({"detail": "Not Found"}, "Not Found", None, None, None),
        ({"detail": {"error": {"message": "deep", "code": "c"}}}, "deep", "c", None, None),
        ([{"error": {"code": 400, "message": "in a list"}}], "in a list", None, None, None),
        ("just text", "just text", None, None, None),
    ],
)  # fmt: skip
def test_every_known_shape_is_read(
    document: object,
    message: str,
    code: str | None,
    type_: str | None,
    param: str | None,
) -> None:
    fault = read_fault(400, (), body(document))
    assert (fault.message, fault.code, fault.type, fault.param) == (
        message,
        code,
        type_,
        param,
    )
    assert (fault.status, fault.blame, fault.retryable) == (400, Blame.CALLER, False)


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b"null", b'{"error":{}}', b"\x00\x01"]
)
def test_a_reply_without_words_gets_a_sentence(raw: bytes) -> None:
    assert read_fault(500, (), raw).message == (
        "The provider answered with status 500 and no message."
    )


def test_a_web_page_is_named_by_its_title_and_not_repeated() -> None:
    page = (
        b"<!doctype html><HTML><head><title>502 Bad Gateway</title></head>secret</html>"
    )
    assert (
        read_words(page).message
        == "The provider answered with a web page: 502 Bad Gateway"
    )
    assert "web page" in read_words(b"<html><body>x</body></html>").message


def test_plain_text_is_the_message() -> None:
    assert (
        read_fault(500, (), b" Internal Server Error\n").message
        == "Internal Server Error"
    )


def test_control_characters_cannot_forge_a_line() -> None:
    text = "one\r\ntwo\x1b[31m\u2028three\x7f\u202efour"
    fault = read_fault(400, (), body({"error": {"message": text, "code": "a\nb"}}))
    assert fault.message == "one two [31m three four"
    assert fault.code == "a b"


def test_a_message_has_an_end() -> None:
    fault = read_fault(400, (), body({"error": "x" * 50_000}))
    assert len(fault.message) == MAX_MESSAGE_CHARS
    assert fault.message.endswith("…")
    assert len(read_fault(500, (), b"y" * 10_000_000).message) == MAX_MESSAGE_CHARS


def test_a_secret_at_the_edge_of_the_limit_is_not_cut_in_two() -> None:
    text = "x" * (MAX_MESSAGE_CHARS - 5) + "very-secret-key"
    fault = read_fault(400, (), body({"error": text}), ("very-secret-key",))
    assert "very" not in fault.message


def test_an_error_in_a_reply_of_status_200_says_its_own_status() -> None:
    cases = {
        400: ({"error": {"code": 400, "message": "m"}}, Blame.CALLER),
        429: ({"error": {"code": "429", "message": "m"}}, Blame.RATE),
        529: (
            {"type": "error", "error": {"type": "overloaded_error"}},
            Blame.OVERLOADED,
        ),
        502: ({"error": {"message": "m"}}, Blame.BROKEN),
    }
    for status, (document, blame) in cases.items():
        fault = read_fault(200, (), body(document))
        assert (fault.status, fault.blame) == (status, blame)


def test_the_status_line_outranks_the_body() -> None:
    fault = read_fault(500, (), body({"error": {"code": 400, "message": "m"}}))
    assert (fault.status, fault.blame) == (500, Blame.BROKEN)


def test_a_moderation_refusal_is_the_callers_affair_and_no_bad_key() -> None:
    metadata = {"reasons": ["violence"], "flagged_input": "…", "provider_name": "x"}
    flagged = {"error": {"code": 403, "message": "flagged", "metadata": metadata}}
    assert read_fault(403, (), body(flagged)).blame is Blame.CALLER
    by_code = {"error": {"code": "content_policy_violation", "message": "no"}}
    assert read_fault(403, (), body(by_code)).blame is Blame.CALLER
    plain = {
        "error": {"code": 403, "message": "no", "metadata": {"provider_name": "x"}}
    }
    assert read_fault(403, (), body(plain)).blame is Blame.KEY


def test_what_the_provider_behind_the_provider_said_is_told() -> None:
    metadata = {"raw": "context too long", "provider_name": "x"}
    document = {
        "error": {
            "code": 400,
            "message": "Provider returned error",
            "metadata": metadata,
        }
    }
    fault = read_fault(400, (), body(document))
    assert fault.message == "Provider returned error: context too long"


def test_an_empty_account_is_said_so() -> None:
    document = {"error": {"code": 402, "message": "Insufficient credits"}}
    message = read_fault(402, (), body(document)).message
    assert message == (
        "The account at the provider has no credit left: Insufficient credits"
    )
    assert read_fault(402, (), b"").message.endswith("no credit left.")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_its_page_not_quoted(status: int) -> None:
    fault = read_fault(status, (), b"<html>go to http://inside.lan</html>")
    assert fault.blame is Blame.BROKEN
    assert (
        fault.message == "The provider answered with a redirect, which is not followed."
    )


@pytest.mark.parametrize("text", ["Loading model", "Model is LOADING, wait"])
def test_503_is_loading_only_when_it_says_so(text: str) -> None:
    assert read_fault(503, (), body({"error": text})).blame is Blame.LOADING
    assert read_fault(500, (), body({"error": text})).blame is Blame.BROKEN
    assert (
        read_fault(503, (), body({"error": "load too high"})).blame is Blame.OVERLOADED
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((("retry-after", "3"),), 3.0),
        ((("Retry-After", " 1.5 "),), 1.5),
        ((("retry-after-ms", "250"),), 0.25),
        ((("retry-after", "9"), ("retry-after-ms", "250")), 0.25),
        ((("retry-after", "5"), ("retry-after-ms", "soon")), 5.0),
        ((("retry-after", "0"),), 0.0),
        ((("retry-after", "1e99"),), 86_400.0),
        ((("retry-after", "Sat, 21 Nov 2026 10:00:00 GMT"),), None),
        ((("retry-after", "-1"),), None),
        ((("retry-after", "1_0"),), None),
        ((("retry-after", "nan"),), None),
        ((("retry-after", "inf"),), None),
        ((("retry-after", ""),), None),
        ((), None),
    ],
)
def test_retry_after_is_read_in_seconds(
    headers: tuple[tuple[str, str], ...], seconds: float | None
) -> None:
    assert read_retry_after(headers) == seconds
    assert read_fault(429, headers, b"").retry_after_s == seconds


@pytest.mark.parametrize(
    ("sent", "moment", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:07 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", 30.0),
        ("Sun, 06 Nov 1994 08:49:07 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", 30.0),
        ("Sun, 06 Nov 1994 08:49:07 GMT", "Sun Nov  6 08:49:37 1994", 30.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:07 GMT", 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 2094 08:49:37 GMT", 86_400.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 36 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 99999999 08:49:37 GMT", None),
        ("now", "Sun, 06 Nov 1994 08:49:37 GMT", None),
    ],
)
def test_a_moment_counts_from_the_replys_own_date(
    sent: str, moment: str, seconds: float | None
) -> None:
    headers = (("date", sent), ("Retry-After", moment))
    assert read_retry_after(headers) == seconds
