"""The table of brokers by name: the only place outside a broker's own folder where one is named."""

from __future__ import annotations

from collections.abc import Mapping

from aries_nb.brokers.alor.broker import alor
from aries_nb.brokers.aries.broker import aries
from aries_nb.brokers.spec import Broker

__all__ = ["BROKERS"]

# The two environments of ALOR have tokens of their own, which the other one refuses.
BROKERS: Mapping[str, Broker] = {
    broker.name: broker
    for broker in (
        aries("aries", "wss://api.aries.com"),
        alor("alor", "wss://api.alor.ru", "https://oauth.alor.ru"),
        alor("alor-test", "wss://apidev.alor.ru", "https://oauthdev.alor.ru"),
        aries("sim", "", simulates="aries"),
        alor("sim-alor", "", "", simulates="alor"),
    )
}
