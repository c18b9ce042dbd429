import json

import numpy as np
import pytest

from aries_nb.widgets.page_script import static_text
from aries_nb.widgets.panels.chain import Chain
from aries_nb.widgets.static_html import WIDGET_MIME
from tests.widgets.sources import Boards

EVIL = "<script>alert(1)</script>"
COLUMNS = ("bid_price", "ask_price", "last_price", "delta", "implied_volatility", "gamma")


class Chains(Boards):
    """Two strikes, 500 without a put; tests write to it."""

    def __init__(self) -> None:
        self.contracts = (("C500", "call", 500.0), (EVIL, "call", 502.5), ("P5025", "put", 502.5))
        self.spot = 502.0
        super().__init__(symbols=tuple(symbol for symbol, _, _ in self.contracts))
        self.columns = COLUMNS
        self.numbers = np.full((3, len(COLUMNS)), np.nan)


def frame_of(view):
    return np.frombuffer(view.widget.frame, dtype="<f8")


@pytest.fixture
def source():
    source = Chains()
    source.put(0, 9.5, 9.75, 9.6, 0.6123, 0.25, 0.01)
    source.put(2, 7.5, 7.75, 7.6, -0.45, 0.255, 0.01)
    return source


@pytest.fixture
def chain(source):
    chain = Chain(source, title="MSFT <i>")
    chain.widget.open()
    yield chain
    chain.close()


def test_a_row_is_a_strike_with_its_call_first_and_its_put_mirrored(chain):
    chain.draw()

    rows = frame_of(chain)[5:].reshape(2, 10)
    assert rows[0, :5].tolist() == [0.25, 0.6123, 9.6, 9.5, 9.75]
    assert np.isnan(rows[0, 5:]).all()
    assert np.isnan(rows[1, :5]).all()
    assert rows[1, 5:].tolist() == [7.5, 7.75, 7.6, -0.45, 0.255]


def test_the_head_says_stale_spot_and_the_newest_receipt(chain, source):
    source.is_stale = True

    chain.draw()

    assert frame_of(chain)[2:5].tolist() == [1, 502.0, 1_700_000_000_000]


def test_the_description_is_plain_json_with_columns_and_symbols(chain):
    chain.draw()

    description = json.loads(json.dumps(chain.widget.description))
    labels = [column["label"] for column in description["columns"]]
    assert labels == ["IV", "Delta", "Last", "Bid", "Ask", "Bid", "Ask", "Last", "Delta", "IV"]
    assert description["strikes"] == [500.0, 502.5]
    assert description["strike_decimals"] == 1
    assert description["symbols"] == [["C500", ""], [EVIL, "P5025"]]
    assert description["decimals"] == [1, 3, 2, 2, 2, 2, 2, 2, 3, 1]


def test_a_frame_is_one_message_and_nothing_new_sends_nothing(chain, source):
    chain.draw()
    source.put(0, 9.55, 9.75, 9.6, 0.6123, 0.25, 0.01)

    counts = (chain.draw(), chain.draw())

    assert counts == (1, 0)
    assert chain.widget.comm.sent[-1]["buffer_paths"] == [["frame"]]


def test_the_static_picture_marks_the_strike_at_the_money_and_escapes_what_it_shows(chain):
    data = chain._repr_mimebundle_()

    text = data["text/html"]
    assert WIDGET_MIME in data
    assert "\N{BLACK RIGHT-POINTING SMALL TRIANGLE} 502.5" in text
    assert text.count("\N{BLACK RIGHT-POINTING SMALL TRIANGLE}") == 1
    assert "25.0%" in text
    assert "underlying 502.00" in text
    assert "MSFT &lt;i&gt;" in text
    assert EVIL not in text


def test_without_a_price_of_the_underlying_no_row_is_marked(chain, source):
    source.spot = float("nan")

    text = chain._repr_mimebundle_()["text/html"]

    assert "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}" not in text
    assert chain.error is None


def test_a_chain_where_nothing_has_come_can_be_drawn():
    chain = Chain(Chains())

    chain.draw()

    assert chain.error is None
    assert repr(chain) == "Chain()"
    chain.close()


def test_a_name_from_outside_reaches_the_browser_only_as_text():
    script = static_text("chain.js")

    assert not any(word in script for word in ("innerHTML", "insertAdjacentHTML", "outerHTML", "document.write"))


def test_two_roots_at_one_strike_are_two_rows():
    source = Chains()
    source.contracts = (
        ("SPX261218C06000000", "call", 6000.0),
        ("SPXW261218C06000000", "call", 6000.0),
        ("SPXW261218P06000000", "put", 6000.0),
    )
    source.symbols = tuple(symbol for symbol, _, _ in source.contracts)
    for place, price in enumerate((1.0, 2.0, 3.0)):
        source.put(place, price, price, price, 0.5, 0.2, 0.01)
    chain = Chain(source)
    chain.widget.open()

    chain.draw()

    rows = frame_of(chain)[5:].reshape(2, 10)
    assert (rows[:, 3].tolist(), rows[1, 5]) == ([1.0, 2.0], 3.0)
    assert np.isnan(rows[0, 5])
    assert (chain.widget.description["strikes"], chain.widget.description["roots"]) == ([6000.0] * 2, ["SPX", "SPXW"])
    assert "6,000 SPXW" in chain._picture()
    chain.close()
