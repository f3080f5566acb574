"""What one call asks of one provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from msgspec import Struct

from providers.wire.dialect import Dialect, Framing
from providers.wire.watch import Watch
from proxy.accounting.prices import is_free
from proxy.config import ModelConfig, Timeouts
from proxy.core.call import Call, Callback, Reply
from proxy.core.errors import GatewayError
from proxy.core.types import ANYONE, Pair, Principal, Record
from proxy.pipeline.allowance import Reservation
from proxy.pipeline.translation import Translation
from proxy.relay.client import Outgoing
from proxy.relay.keepalive import KeepAlive
from proxy.relay.origin import Origin
from proxy.relay.transfer import Limits
from proxy.relay.translate import Translated
from proxy.routing.registry import Provider


class Treatment(Enum):
    """How a reply of the provider is treated.

    MODEL: errors are read and rendered in the caller's dialect, whole replies are
    held until complete, streams relayed by events. INFERENCE: pass-through of a
    stream that we know: by events, else as it is. PLAIN: as it is.
    """

    MODEL = auto()
    INFERENCE = auto()
    PLAIN = auto()


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """What to ask of a provider, all but the body. Remembered: requests of the same
    shape share one (bench: CPU per request).

    `url_path` and `fields` are the request's, `lines` remembers them encoded. Of the
    body `set_fields` are set to new JSON text and `drop_fields` taken out. `stream`
    says that the caller asked for one; `added_usage` that we, not the caller, asked
    for usage in it; `applied` is what x-proxy-applied reports. `prefix` is what stands
    before the provider's own paths when its caller asks for them (pass-through); None
    where a redirect would lead nowhere. `takes_slot` tells that it is inference.
    `translation` is there where `dialect`, the provider's, is not the caller's.
    `named` are the reply's fields that say who was chosen, `named_text` the same as
    lines; `is_free` that what it uses costs nothing.
    """

    provider: Provider
    method: str
    url_path: str
    fields: tuple[Pair, ...]
    dialect: Dialect
    treatment: Treatment
    limits: Limits
    upstream_model: str | None = None
    stream: bool = False
    added_usage: bool = False
    applied: tuple[str, ...] = ()
    model: ModelConfig | None = None
    prefix: str | None = None
    takes_slot: bool = True
    set_fields: Mapping[str, bytes] = field(default_factory=dict)
    drop_fields: frozenset[str] = frozenset()
    lines: dict[Origin, bytes] | None = None
    translation: Translation | None = None
    named: tuple[Pair, ...] = field(init=False)
    named_text: str = field(init=False)
    is_free: bool = field(init=False)

    def __post_init__(self) -> None:
        named = [("x-proxy-provider", self.provider.id)]
        if self.upstream_model is not None:
            named.append(("x-proxy-model", _ascii(self.upstream_model)))
        if self.applied:
            named.append(("x-proxy-applied", _ascii(", ".join(self.applied))))
        put = object.__setattr__
        put(self, "named", tuple(named))
        put(
            self, "named_text", "".join(f"{name}: {value}\r\n" for name, value in named)
        )
        put(self, "is_free", is_free(self.provider.config, self.model))

    def outgoing(
        self, body: bytes | AsyncIterator[bytes], length: int | None = None
    ) -> Outgoing:
        """The request, with its body; of an iterator `length` is the size if known."""
        return Outgoing(
            self.method, self.url_path, self.fields, body, length, self.lines
        )


def _ascii(text: str) -> str:
    """Header text: anything outside printable ASCII is escaped."""
    if text.isascii() and text.isprintable():
        return text
    return text.encode("unicode_escape").decode("ascii")


def limits_of(timeouts: Timeouts, *, is_bounded: bool) -> Limits:
    """The deadlines of a transfer; one that may stream has none for the whole."""
    return Limits(
        connect_s=timeouts.connect,
        write_s=timeouts.write,
        first_byte_s=timeouts.first_byte,
        idle_s=timeouts.idle,
        whole_s=timeouts.whole if is_bounded else None,
    )


class Course(Struct, eq=False):
    """One call under way, from the door to its record.

    `principal` is who calls, once that is known; `cors` are the fields a permitted web page needs; `order` what is asked of whom,
    once that is known. `watch` reads the stream that passes; `framing` is that of the
    reply the caller is getting, once it is a stream of events; `interruption` is why
    the gateway itself ends the call, `farewell` what is said before it does, `cancel`
    how; None once the call has ended. `began` is told of a
    stream's first byte; `keep_alive` speaks while nothing else does, and `is_silent`
    tells that it is still to be made (Carrier.speak);
    `words` pass on what providers themselves said of errors, should the caller be told
    one of these. `tells_provider`: a whole answer names its provider (/llm).
    `reservation` is what limits and budgets have granted, `lines` are further fields of
    the reply's head: how limits stand. `is_narrow`: not everybody may be asked, by the
    caller's list of models or for want of money.
    """

    call: Call
    reply: Reply
    record: Record
    dialect: Dialect
    cancel: Callable[[], object] | None
    framing: Framing = Framing.PLAIN
    interruption: GatewayError | None = None
    principal: Principal = ANYONE
    cors: tuple[Pair, ...] = ()
    order: Order | None = None
    watch: Watch | Translated | None = None
    farewell: Callback | None = None
    began: Callback | None = None
    keep_alive: KeepAlive | None = None
    is_silent: bool = False
    words: dict[GatewayError, Callback] | None = None
    tells_provider: bool = False
    reservation: Reservation | None = None
    lines: str = ""
    is_narrow: bool = False

    def leave(self) -> None:
        """End the call, as its caller has gone."""
        if self.cancel is not None:
            self.cancel()

    def interrupt(self, error: GatewayError) -> None:
        """End the call with `error`, in-band if its stream has begun."""
        if self.interruption is None and self.cancel is not None:
            self.interruption = error
            if self.farewell is not None:
                self.farewell()
            self.cancel()
