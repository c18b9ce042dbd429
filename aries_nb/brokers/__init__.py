"""Brokers: their protocols as pure state machines. Frames and time go in, requests and records come out."""

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
