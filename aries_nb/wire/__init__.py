"""One broker's protocol as a pure state machine: frames and time in, requests and records out."""

from aries_nb.wire.brokers import BROKERS, Broker, Endpoint
from aries_nb.wire.interface import Reference, Wire

__all__ = ["BROKERS", "Broker", "Endpoint", "Reference", "Wire"]
