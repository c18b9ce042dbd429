"""One broker's protocol as a pure state machine: frames and time in, requests and records out."""

from aries_nb.brokers.protocol import (
    AccountReference,
    Argument,
    BrokerProtocol,
    Fact,
    Facts,
    FactType,
    Lookup,
    Query,
    Reference,
    TokenExchange,
    Topic,
)
from aries_nb.brokers.registry import BROKERS
from aries_nb.brokers.spec import Broker, Endpoint

__all__ = [
    "BROKERS",
    "AccountReference",
    "Argument",
    "Broker",
    "BrokerProtocol",
    "Endpoint",
    "Fact",
    "FactType",
    "Facts",
    "Lookup",
    "Query",
    "Reference",
    "TokenExchange",
    "Topic",
]
