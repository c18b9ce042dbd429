"""Messages of one event that come one by one, as users of both brokers see them: a split of a share, a trade.

Between the halves of a split equity is unknown; between the messages of a trade it does not move by what was traded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from decimal import Context, Decimal, Inexact, localcontext

import pytest

from aries_nb.live import Account
from aries_nb.live.account.marks import with_bonds
from aries_nb.live.account.positions import holdings
from aries_nb.store import Mark
from tests.live.account.scripted import ScriptedAlor, ScriptedAries, connected, iso
from tests.net.patience import eventually

CASH = Decimal(100_000)
SYMBOL = "AAPL"


class Books:
    """An account of a scripted broker with ten shares bought at 100, quoted at 110."""

    def __init__(self, server: ScriptedAries | ScriptedAlor) -> None:
        self.server = server
        average, cost = Decimal(100), Decimal(1000)
        if isinstance(server, ScriptedAries):
            server.open("D1", CASH, [(SYMBOL, Decimal(10), average)])
        else:
            server.open("D1", CASH, [(SYMBOL, Decimal(10), average, cost)])
        self.server.quote(SYMBOL, 110, 110, 0)

    def quote(self, price: float) -> None:
        self.server.quote(SYMBOL, price, price, price)

    def position(self, quantity: int, average: str) -> None:
        held = Decimal(quantity), Decimal(average)
        if isinstance(self.server, ScriptedAries):
            self.server.position("D1", SYMBOL, *held)
        else:
            self.server.position("D1", SYMBOL, *held, held[0] * held[1])


@pytest.fixture(params=["aries", "alor"])
def opened(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Books, Account]]:
    monkeypatch.setattr("aries_nb.live.account.sampling.SAMPLE_NS", 10_000_000)  # in place of 0.2 s
    server: ScriptedAries | ScriptedAlor = ScriptedAries(["D1"]) if request.param == "aries" else ScriptedAlor()
    with server:
        books = Books(server)
        with connected(request.param, server.url) as feed:
            account = feed.account("D1")
            account.fills  # noqa: B018 - the first use subscribes
            account.equity.wait()
            watch = account.positions._marks._splits
            eventually(lambda: SYMBOL in watch._known and watch._known[SYMBOL].price == 110)
            yield books, account


def is_worth(account: Account, equity: float) -> bool:
    found = float(account.equity.df["equity"].iloc[-1])
    return math.isclose(found, equity) or (math.isnan(found) and math.isnan(equity))


def check_doubtful(account: Account, reason: str) -> None:
    eventually(lambda: is_worth(account, math.nan))
    assert account.equity.unmarked == (SYMBOL,)
    assert reason in account.equity.reasons[SYMBOL]
    assert math.isnan(account.equity.explained.loc["total", "total"])
    eventually(lambda: account.positions.df.loc[SYMBOL, ["mark_price", "mark_pnl"]].isna().all())
    assert SYMBOL not in account.equity.marks()


def check_split(account: Account, label: str, price_move: float) -> None:
    explained = account.equity.explained
    assert explained.loc[label].tolist() == [0.0] * 5
    assert explained.loc[SYMBOL].tolist() == [price_move, 0, 0, 0, price_move]
    assert explained.loc["total", "total"] == price_move
    worth = account.equity.df["equity"].dropna()
    assert worth.between(100_000 + 1_100, 100_000 + 1_120).all()  # at no moment anything else


def test_a_split_whose_prices_come_first_moves_no_equity(opened: tuple[Books, Account]) -> None:
    books, account = opened

    books.quote(55)
    check_doubtful(account, "its price has jumped as at a split")
    books.position(20, "50")
    books.quote(56)

    eventually(lambda: is_worth(account, 101_120))
    check_split(account, "AAPL split 2:1", 20)
    assert account.positions.df.loc[SYMBOL, "mark_pnl"] == 120


def test_a_split_whose_position_comes_first_moves_no_equity(opened: tuple[Books, Account]) -> None:
    books, account = opened

    books.position(2, "500")
    check_doubtful(account, "its quantity has changed as at a split")
    books.quote(560)

    eventually(lambda: is_worth(account, 101_120))
    check_split(account, "AAPL split 1:5", 20)
    assert account.positions.df.loc[SYMBOL, "mark_pnl"] == 120


def test_a_split_whose_price_is_not_noticed_is_complete_with_the_position(opened: tuple[Books, Account]) -> None:
    books, account = opened

    books.server.quote(SYMBOL, 0, 36, 35)  # the middle was 110, and no last trade is known to be of before
    eventually(lambda: is_worth(account, 100_350))
    books.position(30, "33.3333")

    eventually(lambda: is_worth(account, 101_050))  # no other price follows
    assert account.equity.unmarked == ()
    assert "AAPL split 3:1" in account.equity.explained.index
    assert account.equity.explained.loc["total", "total"] == pytest.approx(-50)
    eventually(lambda: account.positions.df.loc[SYMBOL, "mark_price"] == 35)


def test_a_last_price_of_before_a_split_values_nothing(opened: tuple[Books, Account]) -> None:
    books, account = opened
    books.server.quote(SYMBOL, 55, 55, 110)  # nobody has traded since
    books.position(20, "50")
    eventually(lambda: "AAPL split 2:1" in account.equity.explained.index)

    books.server.quote(SYMBOL, 55, 0, 110)
    check_doubtful(account, "its price is that of before a split")
    books.server.quote(SYMBOL, 55, 0, 56)

    eventually(lambda: is_worth(account, 101_120))
    check_split(account, "AAPL split 2:1", 20)


def test_shares_bought_after_a_split_are_explained(opened: tuple[Books, Account]) -> None:
    books, account = opened
    books.quote(55)
    books.position(20, "50")
    eventually(lambda: "AAPL split 2:1" in account.equity.explained.index)

    buy(books, 10, 55)
    books.position(30, "51.6667")
    books.quote(56)

    eventually(lambda: is_worth(account, 101_130))
    eventually(lambda: account.equity.explained.loc[SYMBOL, "unexplained"] == 0)
    row = account.equity.explained.loc[SYMBOL]
    assert row["price_move"] + row["trade"] == pytest.approx(30)


def test_a_price_that_stays_where_it_jumped_to_is_a_loss(
    opened: tuple[Books, Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aries_nb.store.splits.SETTLING_NS", 300_000_000)
    monkeypatch.setattr("aries_nb.live.account.equity_source.SETTLING_NS", 300_000_000)
    books, account = opened
    before = len(account.equity.df)

    books.quote(55)
    eventually(lambda: account.equity.df["equity"].iloc[before:].isna().any())

    eventually(lambda: is_worth(account, 100_550))  # no other message follows
    assert account.equity.explained.loc[SYMBOL, "price_move"] == -550
    eventually(lambda: account.positions.df.loc[SYMBOL, "mark_price"] == 55)


def test_the_decimal_context_of_the_user_changes_nothing(opened: tuple[Books, Account]) -> None:
    books, account = opened
    books.position(7, "99.99")
    eventually(lambda: account.positions.df.loc[SYMBOL, "quantity"] == 7)

    with localcontext(Context(prec=3, traps=[Inexact])):
        rows, held = account.positions.df, account.equity.books()

    assert rows.loc[SYMBOL, "mark_pnl"] == pytest.approx(70.07)
    assert held.positions[SYMBOL].cost == Decimal("699.93")


@pytest.mark.parametrize("order", ["fill position cash", "position cash fill", "cash fill position"])
def test_a_trade_whose_messages_come_one_by_one_moves_no_equity(opened: tuple[Books, Account], order: str) -> None:
    books, account = opened
    messages = {
        "fill": lambda: executed(books, 10, 110),
        "position": lambda: books.position(20, "105"),
        "cash": lambda: books.server.money("D1", CASH - 1100),
    }

    for name in order.split():
        computed = account.equity._source.version
        messages[name]()
        eventually(lambda computed=computed: account.equity._source.version > computed)

    eventually(lambda: account.equity.explained.loc[SYMBOL].tolist() == [0.0] * 5)
    worth = account.equity.df["equity"].dropna()
    assert worth.eq(101_100).all()  # at no moment without the shares or the cash that they cost
    assert account.equity.moment().cash == 98_900


def buy(books: Books, quantity: int, price: int) -> None:
    executed(books, quantity, price)
    books.server.money("D1", CASH - quantity * price)


def executed(books: Books, quantity: int, price: int) -> None:
    signed = Decimal(quantity)
    if isinstance(books.server, ScriptedAries):
        done = {"cumQty": str(quantity), "leavesQty": "0", "ordStatus": "FILLED", "avgPrice": str(price)}
        books.server.order("D1", "O-1", SYMBOL, signed, **done, updatedAt=iso(time.time_ns()))
    else:
        said = {"price": price, "volume": quantity * price, "accruedInt": 0, "commission": 0}
        books.server.trade("D1", "1", SYMBOL, signed, **said, date=iso(time.time_ns()))


def test_a_side_that_comes_and_goes_leaves_equity_known(opened: tuple[Books, Account]) -> None:
    books, account = opened

    for bid, worth in [(0, 100_550), (55, 101_100)] * 3:
        books.server.quote(SYMBOL, bid, 165, 55)
        eventually(lambda worth=worth: is_worth(account, worth))

    assert not account.equity.df["equity"].iloc[1:].isna().any()


ROW = {"symbol": "X", "quantity": Decimal(10), "average_price": Decimal(100), "multiplier": Decimal(1)}
KINDS = {
    "a share": (ROW | {"security_type": "EQUITY"}, "NaN", True),
    "a share of a broker without types": (ROW, "0", True),
    "a future": (ROW | {"security_type": "FUTURE"}, "NaN", False),
    "what is margined": (ROW | {"is_margined": "true"}, "0", False),
    "an option": (ROW | {"symbol": "MSFT261218C00500000"}, "NaN", False),
    "a bond": (ROW, "12.5", False),
}


@pytest.mark.parametrize(("row", "accrued", "is_share"), KINDS.values(), ids=KINDS)
def test_only_shares_are_split(row: dict[str, object], accrued: str, *, is_share: bool) -> None:
    symbol = str(row["symbol"])
    marks = {symbol: Mark(Decimal(100), accrued=Decimal(accrued))}

    found = with_bonds(holdings([row]), marks)

    assert found[symbol].is_share == is_share
