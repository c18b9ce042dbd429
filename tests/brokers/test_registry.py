from __future__ import annotations

import inspect

import pytest

from aries_nb.brokers import BROKERS, Broker, BrokerProtocol
from aries_nb.errors import UsageError

EACH = pytest.mark.parametrize("broker", BROKERS.values(), ids=BROKERS)


@EACH
def test_broker_stands_under_its_own_name(broker: Broker) -> None:
    assert BROKERS[broker.name] is broker


@EACH
def test_address_is_encrypted_or_that_of_a_simulated_market(broker: Broker) -> None:
    assert broker.url.startswith("wss://") or (broker.url == "" and broker.simulates in BROKERS)
    assert broker.market.path.startswith("/")


@EACH
def test_broker_makes_a_protocol_of_its_own_each_time(broker: Broker) -> None:
    first, second = broker.market.make(), broker.market.make()

    assert first is not second


@EACH
def test_protocol_has_every_member_of_the_interface(broker: Broker) -> None:
    members = {
        name: member for name, member in vars(BrokerProtocol).items() if inspect.isfunction(member) and name[0] != "_"
    }

    protocol = broker.market.make()

    assert len(members) <= 8
    for name, member in members.items():
        assert (
            list(inspect.signature(getattr(protocol, name)).parameters)
            == list(inspect.signature(member).parameters)[1:]
        )


@EACH
def test_columns_of_each_kind_hold_what_a_frame_can_keep(broker: Broker) -> None:
    for kind in ("quotes", "trades", "book"):
        columns = broker.market.columns[kind]

        assert columns
        assert set(columns.values()) <= {"number", "text", "time", "integer"}
        assert all(name.isidentifier() and name == name.lower() for name in columns)


@pytest.mark.parametrize("name", [name for name, broker in BROKERS.items() if broker.refuses])
def test_format_of_messages_is_refused_and_the_error_names_what_is_used(name: str) -> None:
    choose = BROKERS[name].choose
    assert choose is not None

    with pytest.raises(UsageError, match="cannot be chosen"):
        choose(format="simple")
