"""The table of brokers: the only place outside a protocol's own modules where one is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aries_nb.wire.aries_market import AriesMarket
from aries_nb.wire.interface import Wire

__all__ = ["BROKERS", "Broker"]


@dataclass(frozen=True, slots=True)
class Broker:
    """Where a broker's streams are, and who speaks its protocol.

    `url` is the base address, "" where a simulated market is to be started; `path` lies under it.
    """

    name: str
    url: str
    path: str
    make: Callable[[], Wire]
    simulates: str = ""


BROKERS: Mapping[str, Broker] = {
    broker.name: broker
    for broker in (
        Broker("aries", "wss://api.aries.com", "/v1/market/ws", AriesMarket),
        Broker("sim", "", "/v1/market/ws", AriesMarket, simulates="aries"),
    )
}
