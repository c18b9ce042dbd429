from __future__ import annotations

import pytest

from aries_nb.brokers.aries import messages
from aries_nb.brokers.aries.messages import (
    GREEKS_FIELDS,
    QUOTE_FIELDS,
    STREAM_ALIASES,
    TIME_AND_SALES_FIELDS,
    TRADE_FIELDS,
    Greeks,
    Quote,
    TimeAndSales,
    Trade,
    field_types,
)


@pytest.mark.parametrize(("fields", "struct"), [(QUOTE_FIELDS, Quote), (TRADE_FIELDS, Trade), (GREEKS_FIELDS, Greeks)])
def test_every_column_has_a_field_of_its_own(fields: dict[str, str], struct: type) -> None:
    assert set(fields.values()) <= set(field_types(struct))
    assert len(set(fields.values())) == len(fields)


def test_no_column_of_quotes_stands_for_two_fields() -> None:
    names = [*QUOTE_FIELDS, *TRADE_FIELDS, *GREEKS_FIELDS]

    assert len(set(names)) == len(names)


def test_columns_of_prints_are_fields_of_the_tape() -> None:
    assert set(TIME_AND_SALES_FIELDS.values()) - {""} <= set(field_types(TimeAndSales))


def test_aliases_are_lower_case_and_lead_to_a_tag() -> None:
    tags = {member.__struct_config__.tag for member in vars(messages).values() if hasattr(member, "__struct_config__")}

    assert all(alias == alias.lower() for alias in STREAM_ALIASES)
    assert set(STREAM_ALIASES.values()) == tags - {None}


def test_public_names_exist() -> None:
    assert all(hasattr(messages, name) for name in messages.__all__)
