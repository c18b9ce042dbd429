"""The table of brokers by name. No other module outside a broker's own folder names a broker."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from aries_nb.brokers.alor.broker import alor
from aries_nb.brokers.aries.broker import aries
from aries_nb.brokers.spec import Broker
from aries_nb.errors import UsageError

__all__ = ["BROKERS", "broker_named"]

GROUP = "aries_nb.brokers"

# The two environments of ALOR have tokens of their own, which are of no use in the other.
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


def broker_named(broker: object) -> Broker:
    """Return the broker of a name: one of this package, or one that an installed package declares.

    A Broker is returned as it is. A declaring package has in its pyproject.toml:
    [project.entry-points."aries_nb.brokers"] with `name = "module:BROKER"`. Raises UsageError for an unknown name, and
    for an entry point that cannot be loaded or is no Broker.
    """
    if isinstance(broker, Broker):
        return broker
    if isinstance(broker, str) and broker in BROKERS:
        return BROKERS[broker]
    declared = {each.name: each for each in entry_points(group=GROUP)}
    entry = declared.get(broker) if isinstance(broker, str) else None
    if entry is None:
        known = ", ".join([*BROKERS, *sorted(declared.keys() - BROKERS.keys())])
        raise UsageError(f"unknown broker {broker!r}", advice=f"Known are: {known}; or pass a Broker of your own.")
    try:
        found = entry.load()
    except (Exception, SystemExit) as error:  # foreign code
        what = f"the entry point {entry.name!r} ({entry.value}) cannot be loaded: {type(error).__name__}: {error}"
        raise UsageError(what, advice="Install or mend the package that declares it.") from error
    if not isinstance(found, Broker):
        what = f"the entry point {entry.name!r} ({entry.value}) is a {type(found).__name__}"
        raise UsageError(what, advice="It must name an aries_nb.brokers.Broker.")
    return found
