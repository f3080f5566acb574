"""Keys of a provider, as the file says them.

`resolve` turns a `ProviderEntry` into the `ProviderConfig` in force, with keys and
defaults filled in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from proxy.config.base import (
    Amount,
    Count,
    Port,
    Positive,
    Seconds,
    Section,
    empty_map,
    option,
)
from proxy.config.kinds import KINDS, KindName, ProviderType

ProviderId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def _is_name(text: object) -> bool:
    return (
        isinstance(text, str)
        and 0 < len(text) <= 256
        and text == text.strip()
        and text.isprintable()
    )


def _name(text: str) -> str:
    if not _is_name(text):
        raise ValueError("should be 1 to 256 printable characters, no outer blanks")
    return text


def http_url(text: str) -> str:
    """Check an address of a server; raises ValueError, never quoting it."""
    try:
        parts = urlsplit(text)
        port_is_valid = parts.port != 0
    except ValueError:
        raise ValueError("is not a valid URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("should be a URL such as http://host:8000")
    if not text.isascii() or not text.isprintable() or " " in text or not port_is_valid:
        raise ValueError("is not a valid URL")
    return text


def _endpoint(text: str) -> str:
    parts = urlsplit(http_url(text))
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no credentials; put the key into authSecret")
    if parts.query or parts.fragment:
        raise ValueError("must have neither a query nor a fragment")
    return text


def _mac(text: str) -> str:
    if not re.fullmatch(r"(?i)[0-9a-f]{2}([:-]?[0-9a-f]{2}){5}", text):
        raise ValueError("should be a MAC address such as aa:bb:cc:dd:ee:ff")
    return text


def _header_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text):
        raise ValueError("is not a valid header name")
    return text


def _header_value(text: str) -> str:
    if any(ord(char) < 32 or ord(char) > 255 or ord(char) == 127 for char in text):
        raise ValueError("holds characters that no header may")
    return text


Name = Annotated[str, AfterValidator(_name)]
HttpUrl = Annotated[str, AfterValidator(http_url)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderMap = Annotated[
    Mapping[HeaderName, Annotated[str, AfterValidator(_header_value)]],
    AfterValidator(MappingProxyType),
]


class TimeoutsEntry(Section):
    connect: Seconds | None = option(
        None,
        "Until a connection stands.",
        unit="seconds",
        shown_default="local 5, cloud 10",
    )
    write: Seconds | None = option(
        None, "Longest pause while sending.", unit="seconds", shown_default="60"
    )
    first_byte: Seconds | None = option(
        None,
        "Until the reply begins (cloud: of a stream).",
        unit="seconds",
        shown_default="local 600, cloud 120",
    )
    idle: Seconds | None = option(
        None, "Longest pause within a reply.", unit="seconds", shown_default="120"
    )
    whole: Seconds | None = option(
        None,
        "Whole reply that is not streamed; a stream has no total limit.",
        unit="seconds",
        shown_default="600",
    )


class ClientTls(Section):
    """TLS towards a provider."""

    verify: bool = option(True, "Check the provider's certificate.")
    ca_file: str | None = option(None, "PEM file of authorities to trust instead.")
    cert_file: str | None = option(None, "PEM file of our certificate.")
    key_file: str | None = option(None, "PEM file of its key.")


class Wake(Section):
    """Wake-on-LAN."""

    mac: Annotated[str, AfterValidator(_mac)] = option(..., "Hardware address to wake.")
    broadcast: str = option("255.255.255.255", "Address the packet is sent to.")
    port: Port = option(9, "UDP port the packet is sent to.")
    wait_seconds: Seconds = option(
        90, "How long the machine may take to come up.", unit="seconds"
    )


class Named(Section):
    """Something with an id, whose name for people is the id unless given."""

    @model_validator(mode="before")
    @classmethod
    def _name_defaults_to_id(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("name") is not None:
            return data
        # an id that is no name is told once, for itself
        return data | {"name": data["id"] if _is_name(data.get("id")) else "?"}


class ProviderEntry(Named):
    id: ProviderId = option(..., "Name of the provider, in URLs and model names.")
    name: Name = option("", "Name for people.", shown_default="the id")
    kind: KindName = option(..., "Which server it is: " + ", ".join(KINDS) + ".")
    type: ProviderType | None = option(
        None,
        "local or cloud: default timeouts and order.",
        shown_default="by kind",
    )
    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = option(
        None,
        "Address, with or without a closing /v1; other paths stay as a prefix.",
        shown_default="by kind; required for local ones",
    )
    priority: Count = option(1, "Lower is tried first.")
    enabled: bool = option(True, "Use it.")
    max_concurrent: Positive | None = option(
        None,
        "Slots: requests at the same time; null for no limit.",
        unit="requests",
        shown_default="what the server or its kind says",
    )
    gpu: str | None = option(None, "Its hardware, shown to people.")
    location: str | None = option(None, "Where it stands, shown to people.")
    health_check_interval: Seconds | None = option(
        None,
        "Time between probes.",
        unit="seconds",
        shown_default="local 30, cloud 60",
    )
    health_check_timeout: Seconds = option(
        5, "How long a probe may take.", unit="seconds"
    )
    health_check_path: Annotated[str, Field(pattern=r"^/")] | None = option(
        None, "Path of the probe.", shown_default="by kind"
    )
    auth_type: Literal["api_key", "bearer"] | None = option(
        None, "How the key is sent; null: as its kind wants it."
    )
    auth_secret: str | None = option(
        None,
        "Key: the NAME of a variable, or ${file:…}; another literal is warned about.",
        secret=True,
        shown_default="null: the variable of its kind",
    )
    auth_secrets: tuple[str, ...] = option(
        (), "Several keys, used in turn when one is rate limited.", secret=True
    )
    forward_auth: bool = option(
        False, "Send the caller's own credential on; the key is for probes alone."
    )
    timeouts: TimeoutsEntry = option(TimeoutsEntry, "Deadlines.")
    tls: ClientTls = option(ClientTls, "TLS towards it.")
    proxy: HttpUrl | None = option(
        None,
        "Outbound HTTP proxy.",
        secret=True,
        shown_default="HTTPS_PROXY, NO_PROXY",
    )
    wake: Wake | None = option(None, "Wake-on-LAN when it is needed while offline.")
    headers: HeaderMap = option(
        empty_map, "Header fields sent with every request.", secret=True
    )
    forward_headers: tuple[HeaderName, ...] = option(
        (), "The caller's header fields that are sent on."
    )
    cache_salt: bool = option(False, "vllm: a prefix-cache salt per tenant.")
    cost_per_1k_tokens: Amount | None = option(
        None, "Price of its models.", unit="USD per 1000 tokens"
    )
