"""The command line's flags, as data: cli makes its parser of them, docs their table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Literal


def _flag(meaning: str, default: Any = None, **notes: Any) -> Any:
    secret = bool(notes.get("secret"))
    metadata = {"meaning": meaning, **notes}
    return field(default=default, repr=not secret, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was given on the command line; None or False where it was not."""

    host: str | None = _flag("address to listen on")
    port: int | None = _flag("port to listen on", number=True)
    config: str | None = _flag("configuration file", shown="FILE")
    workers: int | None = _flag("processes that serve", number=True, shown="N")
    ollama_port: int | None = _flag("port of Ollama on this machine", number=True)
    lmstudio_port: int | None = _flag("port of LM Studio on this machine", number=True)
    ollama_base_url: str | None = _flag("address of Ollama", shown="URL")
    lmstudio_base_url: str | None = _flag("address of LM Studio", shown="URL")
    openai_api_key: str | None = _flag("key for OpenAI", secret=True, shown="KEY")
    anthropic_api_key: str | None = _flag("key for Anthropic", secret=True, shown="KEY")
    gemini_api_key: str | None = _flag("key for Gemini", secret=True, shown="KEY")
    jwt_secret: str | None = _flag(
        "secret that signs tokens", secret=True, shown="SECRET"
    )
    enable_auth: bool = _flag("require a key from every caller", False)
    debug: bool = _flag("log more", False)
    log_format: Literal["text", "json"] | None = _flag(
        "text for people, or json", choices=("text", "json")
    )
    no_discover: bool = _flag("do not look for servers and keys", False)
    demo: bool = _flag("add a built-in provider that streams canned text", False)


def as_arguments(options: Options) -> list[str]:
    """Say options again as a command line."""
    said: list[str] = []
    for flag in flags():
        value = getattr(options, flag.name)
        if value is not None and value is not False:
            said += [flag.text] if flag.switch else [flag.text, str(value)]
    return said


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag as a parser needs it. `name` is the attribute of Options."""

    name: str
    meaning: str
    switch: bool
    number: bool
    secret: bool
    shown: str
    choices: tuple[str, ...] | None

    @property
    def text(self) -> str:
        return "--" + self.name.replace("_", "-")


def flags() -> Iterator[Flag]:
    """Every flag, in the order of the help."""
    for item in fields(Options):
        notes = item.metadata
        yield Flag(
            name=item.name,
            meaning=notes["meaning"],
            switch=item.default is False,
            number=bool(notes.get("number")),
            secret=bool(notes.get("secret")),
            shown=notes.get("shown", item.name.rpartition("_")[2].upper()),
            choices=notes.get("choices"),
        )
