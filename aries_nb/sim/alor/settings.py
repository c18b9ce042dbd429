"""Options of a simulated ALOR server: limits, life of tokens, and choices that ALOR's protocol page leaves open.

Source: that page, §15 (U1 to U35: what is not known about the broker) and §16.4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from aries_nb.errors import UsageError
from aries_nb.sim.settings import ServerOptions

__all__ = ["AlorOptions", "DuplicateGuid", "Fault", "UnknownInstrument"]

DuplicateGuid = Literal["refuse", "replace"]
UnknownInstrument = Literal["refuse", "silent"]
Fault = Literal["empty_guid", "late_frames", "no_zone", "stale_bars", "trailing_zeros"]


@dataclass(frozen=True, slots=True)
class AlorOptions(ServerOptions):
    """Options of a simulated ALOR server. A fixed `token` is accepted in addition to those issued at `/refresh`.

    "U" numbers are those of ALOR's protocol page §15, its list of what is not known about the broker. `ack_first` sends
    the reply before the snapshot instead of after it (U5). `conflate` False sends every state at any requested
    `frequency`. `token_seconds` is the life of an access token, `refresh_token` the text that is exchanged for one.
    `kill_on_expiry` drops a connection when its newest token expires (U6). `connection_limit` applies to the subject of
    a token; with `refuse_handshake` to all connections, and the handshake is refused with HTTP 429 (U14).
    `subscription_limit` and `request_rate` (requests per second, None for no limit) apply to a connection (U25, U15),
    `http_rate` (requests per second) to the HTTP requests of a user (protocol page §10). More than `queue_limit` unread
    messages end a connection without a close frame (U16). `duplicate_guid` refuses a subscription with a guid in use,
    or replaces the old one (U2); `unknown_instrument` refuses one of an unknown instrument, or does not answer it (U3);
    `unknown_guid_code` answers an unsubscribe of an unknown guid (U4). `compress` accepts permessage-deflate if a
    client offers it (U20).

    `faults` are defects of the broker that a client must survive (protocol page §16.4): a 401 without the request's
    guid, frames after the reply to an unsubscribe, times without a zone, each bar followed by its duplicate and the
    bar before it, and decimals with trailing zeros.

    Raises UsageError as ServerOptions does.
    """

    queue_limit: int = 5000
    flush_seconds: float = 0.01
    other_broker: ClassVar[str] = "Aries"
    ack_first: bool = False
    conflate: bool = True
    token_seconds: float = 1800.0
    refresh_token: str = field(default="sim-refresh", repr=False)
    kill_on_expiry: bool = False
    connection_limit: int = 10
    refuse_handshake: bool = False
    subscription_limit: int = 5000
    orders_per_s: float = 4.0
    request_rate: float | None = None
    http_rate: float = 100.0
    duplicate_guid: DuplicateGuid = "refuse"
    unknown_instrument: UnknownInstrument = "refuse"
    unknown_guid_code: Literal[200, 404] = 200
    compress: bool = False
    faults: frozenset[Fault] = frozenset()

    def __post_init__(self) -> None:
        ServerOptions.__post_init__(self)
        self._check("token_seconds", 0.01, 1e9)
        for name in ("connection_limit", "subscription_limit"):
            self._check(name, 1, 10**9)
        self._check("http_rate", 1.0, 1e9)
        if self.request_rate is not None:
            self._check("request_rate", 0.01, 1e9)
        self._check_choice("duplicate_guid", get_args(DuplicateGuid))
        self._check_choice("unknown_instrument", get_args(UnknownInstrument))
        if self.unknown_guid_code not in (200, 404):
            where = "AlorOptions.unknown_guid_code"
            raise UsageError(f"the code is {self.unknown_guid_code!r}", where=where, advice="Use 200 or 404.")
        if not self.refresh_token.strip():
            raise UsageError("the refresh token is blank", where="AlorOptions.refresh_token", advice="Give a text.")
        unknown = sorted(set(self.faults) - set(get_args(Fault)))
        if unknown:
            advice = f"Use some of: {', '.join(get_args(Fault))}."
            raise UsageError(f"unknown faults: {', '.join(unknown)}", where="AlorOptions.faults", advice=advice)
