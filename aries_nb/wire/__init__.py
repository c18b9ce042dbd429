"""One broker's protocol as a pure state machine: frames and time in, requests and records out."""

from aries_nb.wire.brokers import BROKERS, Broker, Endpoint
from aries_nb.wire.interface import (
    AccountReference,
    Argument,
    Fact,
    Facts,
    FactType,
    Lookup,
    Query,
    Reference,
    TokenExchange,
    Topic,
    Wire,
)

__all__ = [
    "BROKERS",
    "AccountReference",
    "Argument",
    "Broker",
    "Endpoint",
    "Fact",
    "FactType",
    "Facts",
    "Lookup",
    "Query",
    "Reference",
    "TokenExchange",
    "Topic",
    "Wire",
]
