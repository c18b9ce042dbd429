"""One broker's protocol as a pure state machine: frames and time in, requests and records out."""

from aries_nb.brokers.protocol import (
    AccountReference,
    Argument,
    BrokerProtocol,
    Lookup,
    LookupPage,
    LookupTopic,
    LookupType,
    LookupValue,
    Query,
    Reference,
    TokenExchange,
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
    "Lookup",
    "LookupPage",
    "LookupTopic",
    "LookupType",
    "LookupValue",
    "Query",
    "Reference",
    "TokenExchange",
]
