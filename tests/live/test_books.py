"""Ten thousand fills through the protocol, without a socket: what we reckon is what the broker's own books say."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from aries_nb.model import TABLE_KEYS, Column, Subscription
from aries_nb.net.intake import Intake, Stream
from aries_nb.sim import SimOptions
from aries_nb.sim.aries_accounts import AccountsSession
from aries_nb.sim.orders import AccountTerms
from aries_nb.store import FillLog, Table, equity, open_books
from aries_nb.store.reckoning import apply_fills
from aries_nb.wire import BROKERS
from tests.sim.trading import NOW, quiet_accounts

ACCOUNT = "M"
TERMS = AccountTerms(ACCOUNT, "margin", Decimal(50_000_000), (("AAPL", 100), ("KO", 50)))
SYMBOLS = ("AAPL", "KO", "MSFT", "NVDA", "TSLA")
FILLS, SNAPSHOTS = 10_000, 1_000


class Desk:
    """Broker and client with nothing between them but the text of the protocol."""

    def __init__(self) -> None:
        self.accounts = quiet_accounts(terms=(TERMS,))
        self.now = NOW
        self.fills = 0
        self._session = AccountsSession(SimOptions(), self.accounts, self.now)
        self._wire = BROKERS["aries"].accounts.make()
        self._intake = Intake(self._wire)
        self.tables: dict[str, Table] = {}
        streams = []
        for kind in ("orders", "positions", "balances"):
            types = self._wire.columns(kind)
            columns = [Column(name, type_) for name, type_ in types.items()]
            if kind == "orders":
                self.log = FillLog(columns)
            followers = (self.log,) if kind == "orders" else ()
            table = self.tables[kind] = Table(columns, (ACCOUNT,), key=TABLE_KEYS[kind], followers=followers)
            streams.append(Stream(Subscription(kind, ACCOUNT, tuple(types)), table, 0))
        self._wire.open(0.0)
        self._wire.authenticate("a token", 0.0)
        self._wire.subscribe(self._intake.attach(streams))
        self.talk()

    def talk(self) -> None:
        """Carry everything that either side has to say to the other until both are silent."""
        while True:
            sent = self._wire.outgoing()
            for frame in sent:
                self._session.receive(frame, self.now)
            lines, self._session.outbox[:] = list(self._session.outbox), []
            if not lines and not sent:
                break
            if lines:
                self._intake.take("\n".join(lines).encode(), int(self.now * 1e9))
        self._intake.publish()

    def trade(self, rng: Random) -> None:
        """Place a market order of a random size on a random side, and let a moment pass."""
        broker = self.accounts.brokerage
        before = len(broker.fills)
        side = rng.choice(("buy", "sell"))
        broker.place(ACCOUNT, rng.choice(SYMBOLS), side, "market", rng.randrange(1, 120), now=self.now)
        self.fills += max(len(broker.fills) - before, 0)

    def turn(self) -> None:
        """Let a second pass at the broker, and hear about it."""
        self.now += 1.0
        self.accounts.turn(1.0, self.now)
        self.talk()

    def told(self, kind: str) -> list[dict[str, object]]:
        table = self.tables[kind]
        names = [column.name for column in table.columns]
        return [dict(zip(names, row.values, strict=True)) for row in table.rows()]

    def marks(self) -> dict[str, Decimal]:
        return {symbol: self.accounts.brokerage.mark(symbol) for symbol in SYMBOLS}


def test_equity_equals_the_brokers_books_to_the_cent_at_each_of_1000_snapshots() -> None:
    desk, rng = Desk(), Random(7)
    (opening,) = desk.told("balances")
    held = {row["symbol"]: (row["quantity"], row["average_price"]) for row in desk.told("positions")}
    own = open_books(opening["cash"], held)
    _, known = desk.log.entries()
    different = []

    for snapshot in range(SNAPSHOTS):
        while desk.fills < (snapshot + 1) * FILLS // SNAPSHOTS:
            desk.trade(rng)
        desk.turn()
        (balance,) = desk.told("balances")
        positions = {row["symbol"]: (row["quantity"], row["average_price"]) for row in desk.told("positions")}
        theirs, marks = desk.accounts.equity(ACCOUNT), desk.marks()
        ours = equity(open_books(balance["cash"], positions), marks)
        fills, known = desk.log.entries(known)
        own = apply_fills(own, [fill for fill, _ in fills])
        # The books that are kept from fills alone know no fees, and average prices are rounded; quantities are exact.
        quantities = {symbol: held.quantity for symbol, held in own.positions.items()}
        if abs(ours - theirs) >= Decimal("0.005") or quantities != {s: q for s, (q, _) in positions.items() if q}:
            different.append((snapshot, ours, theirs, quantities, positions))

    assert desk.fills >= FILLS
    assert different == []
