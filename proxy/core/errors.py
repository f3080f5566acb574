"""THE catalogue of errors, and the exceptions that carry its codes.

    GatewayError
    ├── CallerFault     the request is wrong; asking again changes nothing
    ├── ProviderFault   the upstream failed; another candidate may do better
    └── GatewayFault    ours: shutting down, not configured, a defect

A code is never reused for another meaning. Rendering in the caller's dialect is
the affair of providers.wire.envelopes; nothing here knows a wire format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Entry:
    """What is promised about one code; `type` is OpenAI's error type."""

    code: str
    type: str
    http_status: int
    title: str
    description: str
    remediation: str
    typical_param: str | None = None


_INVALID = "invalid_request_error"

_ENTRIES: Final = (
    Entry("invalid_json", _INVALID, 400, "Malformed JSON",
          "The body is not one JSON object: a syntax error, invalid UTF-8, a key twice "
          "at the top level, NaN or Infinity, or nesting too deep.",
          "Send one valid JSON object, encoded as UTF-8."),
    Entry("missing_field", _INVALID, 400, "Missing field",
          "A field that this route needs is absent.",
          "Add the field named in `param`.", "model"),
    Entry("invalid_field", _INVALID, 400, "Invalid field",
          "A field or header has the wrong type or a value outside its range.",
          "Correct the field named in `param`.", "stream"),
    Entry("context_length_exceeded", _INVALID, 400, "Context length exceeded",
          "The request is longer than the context of the model that would serve it.",
          "Send less, or use a model with a larger context; contextFallbacks of the "
          "model names one to be asked instead.", "messages"),
    Entry("unsupported_operation", _INVALID, 400, "Unsupported operation",
          "The provider that serves this model cannot do what the route asks.",
          "Use a model whose provider has the capability; GET /v1/models lists them.",
          "model"),
    Entry("unsupported_parameter", _INVALID, 400, "Unsupported parameter",
          "The provider that serves this model speaks another dialect, which cannot say "
          "what the field named in `param` asks; without it the answer would be wrong.",
          "Leave the field out, or use a model whose provider can; docs/dialects.md "
          "lists what becomes of each.", "logprobs"),
    Entry("image_url_not_supported", _INVALID, 400, "Image URL not supported",
          "The provider fetches no images, and the gateway fetches none on behalf of "
          "callers.",
          "Send the image itself, as base64 in a data URL.",
          "messages[0].content[1].image_url.url"),
    Entry("image_decode_error", _INVALID, 400, "Image not readable",
          "What stands where an image belongs is neither base64 nor a URL.",
          "Send base64 without line breaks, or a data URL that ends its head with "
          "`;base64,`.", "messages[0].content[1].image_url.url"),
    Entry("invalid_path", _INVALID, 400, "Invalid path",
          "The path holds dot segments, encoded slashes, backslashes or bytes that "
          "are not allowed.",
          "Send the path plainly, percent-encoded once."),
    Entry("request_loop", _INVALID, 400, "Request loop",
          "The request has already passed through this gateway.",
          "Check the endpoints of the configured providers: one leads back here."),
    Entry("invalid_config", _INVALID, 400, "Invalid configuration",
          "The configuration that should be taken has problems; all are listed in "
          "`problems`. What was in force before stays in force.",
          "Correct the file and reload; `python -m proxy check-config` says the same."),
    Entry("missing_authorization", "authentication_error", 401, "Missing authorization",
          "The route needs a credential and the request carries none.",
          "Send a key or token as `Authorization: Bearer`; on admin routes, while "
          "authentication is off, the local token, whose file the start output names."),
    Entry("invalid_api_key", "authentication_error", 401, "Invalid API key",
          "No key of this gateway is the one that was sent, or it has been revoked or "
          "disabled.",
          "Send a key that `python -m proxy keys list` shows as enabled, or create one."),
    Entry("expired_api_key", "authentication_error", 401, "Expired API key",
          "The key was valid until a moment that has passed.",
          "Rotate it, or create another."),
    Entry("invalid_token", "authentication_error", 401, "Invalid token",
          "The token is not the one that is asked for, its signature or a claim is "
          "wrong, or two fields carry different credentials.",
          "Get a new token from its issuer, or read the local token again from the file "
          "that the start output names, and send it once."),
    Entry("expired_token", "authentication_error", 401, "Expired token",
          "The token was valid until a moment that has passed.",
          "Get a new one from its issuer."),
    Entry("budget_exceeded", "insufficient_quota", 402, "Budget exceeded",
          "The key or its tenant has spent what it may in this day or month (UTC), or "
          "the model has no known price and a budget holds.",
          "Wait as long as Retry-After says, raise the budget, or give the model a "
          "price; budgets.allowUnpriced lets unpriced models pass.", "model"),
    Entry("execution_error", _INVALID, 400, "Code failed",
          "The code that POST /execute was given is not Python, raised an exception, or "
          "ended without a result. The message holds the exception and the traceback "
          "of that code.",
          "Correct the code; where it needs all of Python, ask for the engine cpython.",
          "code"),
    Entry("forbidden", "permission_error", 403, "Forbidden",
          "The request may not be made from there: an unknown Host or Origin, or an "
          "owner's path from another machine; or its key lacks the scope of the route.",
          "Call from this machine, or name the host in server.allowedHosts or the "
          "origin in server.cors.allowedOrigins; with a key, use one with the scope "
          "that the message names."),
    Entry("model_not_allowed", "permission_error", 403, "Model not allowed",
          "The key may use certain models only, and this is none of them.",
          "Use one of the models that GET /v1/models lists for the key, or have its "
          "list extended.", "model"),
    Entry("not_found", _INVALID, 404, "Not found",
          "There is no such route or object.",
          "Check the path; `python -m proxy routes` lists all."),
    Entry("model_not_found", _INVALID, 404, "Model not found",
          "No provider serves a model of this name.",
          "Use one of the ids that GET /v1/models lists.", "model"),
    Entry("provider_not_found", _INVALID, 404, "Provider not found",
          "No provider has this id or kind.",
          "Use an id that GET /health?verbose=1 lists.", "provider"),
    Entry("method_not_allowed", _INVALID, 405, "Method not allowed",
          "The route exists but not for this method.",
          "Use a method that the Allow header names."),
    Entry("request_timeout", _INVALID, 408, "Request timeout",
          "The request's head or body did not arrive in time.",
          "Send the request without long pauses, or raise server.headTimeoutSeconds "
          "or server.bodyIdleSeconds."),
    Entry("execution_timeout", _INVALID, 408, "Code ran too long",
          "The code that POST /execute was given did not end in time and was stopped.",
          "Make it do less, or raise timeout_s up to execute.maxTimeoutSeconds.",
          "timeout_s"),
    Entry("body_too_large", _INVALID, 413, "Body too large",
          "The body is larger than server.maxBodyBytes, counted inflated.",
          "Send less, or raise server.maxBodyBytes."),
    Entry("unsupported_media_type", _INVALID, 415, "Unsupported media type",
          "The Content-Type or Content-Encoding is not one this route takes.",
          "Send application/json (multipart/form-data on the audio and image "
          "routes), plain or gzip or deflate encoded."),
    Entry("rate_limit_exceeded", "rate_limit_error", 429, "Rate limit exceeded",
          "The key, user, tenant, model or address has made as many requests as its "
          "limit allows, or has as many under way.",
          "Wait as long as Retry-After says; x-ratelimit-* tell how much is left. "
          "Limits are in rateLimits and in the key."),
    Entry("token_limit_exceeded", "rate_limit_error", 429, "Token limit exceeded",
          "The request, with the answer it may get, needs more tokens than the limit "
          "has left now.",
          "Wait as long as Retry-After says, or set a smaller max_tokens: without one "
          "1,024 are set aside.", "max_tokens"),
    Entry("queue_full", "rate_limit_error", 429, "Queue full",
          "No slot is free and no more requests may wait: this one, or a newer one of "
          "the same key, had to give way.",
          "Wait as long as Retry-After says, send fewer requests at once, or raise "
          "routing.queue.maxLength (execute.queue.maxLength for code)."),
    Entry("upstream_rate_limited", "rate_limit_error", 429, "Rate limited upstream",
          "The provider refused the request because of its own rate limit.",
          "Wait as long as Retry-After says."),
    Entry("client_closed_request", _INVALID, 499, "Client closed request",
          "The caller went away before the reply was complete. Only in logs and "
          "metrics.",
          "Nothing to do, unless the caller's own timeout is too short."),
    Entry("internal_error", "server_error", 500, "Internal error",
          "A defect of the gateway.",
          "Report it with the request id; the log has the details."),
    Entry("not_configured", "server_error", 501, "Not configured",
          "Nothing that could serve this is configured.",
          "Configure it: the message names the key."),
    Entry("upstream_error", "server_error", 502, "Upstream error",
          "The provider failed: unreachable, an error of its own, a redirect, or a "
          "reply that is not valid HTTP.",
          "Look at the provider; GET /health?verbose=1 shows what is known of it."),
    Entry("upstream_stream_broken", "server_error", 502, "Broken stream",
          "The provider's reply ended before it was complete.",
          "Ask again; what was received so far is not the whole answer."),
    Entry("upstream_auth_failed", "server_error", 502, "Provider key refused",
          "The provider refused the key that the gateway holds for it.",
          "Correct authSecret of that provider or its environment variable."),
    Entry("provider_capacity_exceeded", "server_error", 503, "No free slot in time",
          "Every provider of the model was busy for as long as a request may wait.",
          "Ask again later; raise routing.queue.maxWaitSeconds or the maxConcurrent of "
          "a provider, or add a provider."),
    Entry("all_providers_unavailable", "server_error", 503, "No provider available",
          "Every provider that could serve this is disabled or down.",
          "Start one; GET /health?verbose=1 shows their state."),
    Entry("model_loading", "server_error", 503, "Model loading",
          "The provider is still loading the model.",
          "Ask again in a moment."),
    Entry("database_unavailable", "server_error", 503, "Database unavailable",
          "The database does not answer, so that what is kept in it cannot be read or "
          "changed. Requests to models go on.",
          "GET /readyz shows its state; ask again when it is back."),
    Entry("shutting_down", "server_error", 503, "Shutting down",
          "The gateway is stopping and takes no new requests.",
          "Ask again; a restarted gateway will answer."),
    Entry("upstream_timeout", "server_error", 504, "Upstream timeout",
          "The provider did not connect, take the request, or answer in time; the "
          "message says which limit was hit.",
          "Raise that provider's timeouts (connect, write, firstByte, idle or whole) "
          "if it is merely slow."),
)  # fmt: skip

CATALOGUE: Final[Mapping[str, Entry]] = MappingProxyType(
    {entry.code: entry for entry in _ENTRIES}
)


class GatewayError(Exception):
    """An error with a code of the catalogue.

    `message` is for the caller and holds nothing internal; `param` points at the
    field; `status` overrides the catalogue's (an upstream's own 4xx);
    `upstream_code` and `upstream_type` are the provider's words, passed on.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        param: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
        upstream_code: str | None = None,
        upstream_type: str | None = None,
    ) -> None:
        super().__init__(message)
        self.entry = CATALOGUE[code]
        self.message = message
        self.param = param
        self.status = self.entry.http_status if status is None else status
        self.retry_after_s = retry_after_s
        self.upstream_code = upstream_code
        self.upstream_type = upstream_type

    @property
    def code(self) -> str:
        return self.entry.code

    @property
    def shown_code(self) -> str:
        """The code as the caller sees it: the provider's own, where it gave one."""
        return self.upstream_code or self.entry.code

    @property
    def shown_type(self) -> str:
        return self.upstream_type or self.entry.type


class CallerFault(GatewayError):
    """The request is wrong. Asking again unchanged would fail again."""


class ProviderFault(GatewayError):
    """The upstream failed. Another candidate, or a later try, may do better."""


class GatewayFault(GatewayError):
    """Ours."""
