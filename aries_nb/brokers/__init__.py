"""Brokers: the protocols of Aries and ALOR, and the classes to write an adapter for another broker.

A protocol is a state machine without I/O: frames and time go in, requests and records come out. `docs/brokers.md` shows
an adapter.
"""

from aries_nb.brokers.events import (
    Accepted,
    Acknowledged,
    Event,
    Levels,
    Ponged,
    Refused,
    Reply,
    StreamKey,
    TokenExpires,
    Update,
)
from aries_nb.brokers.json_protocol import JsonProtocol
from aries_nb.brokers.parsing import nanoseconds
from aries_nb.brokers.protocol import (
    AccountReference,
    Argument,
    BrokerProtocol,
    Lookup,
    LookupPage,
    LookupTopic,
    LookupType,
    LookupValue,
    OptionReference,
    Ping,
    Query,
    Reference,
    TokenExchange,
)
from aries_nb.brokers.registry import BROKERS, broker_named
from aries_nb.brokers.spec import ALWAYS_OPEN, UNKNOWN_HOURS, Broker, Endpoint, Hours, Login

__all__ = [
    "ALWAYS_OPEN",
    "BROKERS",
    "UNKNOWN_HOURS",
    "Accepted",
    "AccountReference",
    "Acknowledged",
    "Argument",
    "Broker",
    "BrokerProtocol",
    "Endpoint",
    "Event",
    "Hours",
    "JsonProtocol",
    "Levels",
    "Login",
    "Lookup",
    "LookupPage",
    "LookupTopic",
    "LookupType",
    "LookupValue",
    "OptionReference",
    "Ping",
    "Ponged",
    "Query",
    "Reference",
    "Refused",
    "Reply",
    "StreamKey",
    "TokenExchange",
    "TokenExpires",
    "Update",
    "broker_named",
    "nanoseconds",
]
