"""What a simulator has sent, from its own record: to compare it row by row with what was received."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aries_nb.sim.accounts.accounts import OrderChanged

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from aries_nb.live import LiveFrame, LiveTable
    from aries_nb.sim import Simulator

Print = tuple[int, float, float]
OrderState = tuple[str, str, float, int]


class Witness:
    """Notes every trade and every state of an order, from before the first client comes."""

    def __init__(self, sim: Simulator) -> None:
        self._sim = sim
        self._trades: list[tuple[str, int, float, float]] = []
        self._orders: list[Any] = []
        sim._call(lambda: sim._server.feed.on_trade.append(lambda *trade: self._trades.append(trade)))
        sim._call(lambda: sim._server.accounts.add_listener(self._note))

    def prints(self, symbol: str) -> list[Print]:
        """Time in Unix ns, price and size of each trade so far."""
        return [(ts, price, float(size)) for name, ts, price, size in list(self._trades) if name == symbol]

    def order_states(self, account: str) -> list[OrderState]:
        """Symbol, status, quantity filled and time in Unix ms of each state so far."""
        orders = [order for order in list(self._orders) if order.account == account]
        return [(o.symbol, o.status.upper(), float(o.filled), int(o.updated * 1000)) for o in orders]

    def renewals(self) -> list[int]:
        """How often each connection has authenticated after its first time."""
        return self._sim._call(lambda: [client.session.auths - 1 for client in self._sim._server.clients])

    def has_all_arrived(self, received: int) -> bool:
        """Whether so many messages are all that were sent; asked while the market stands still."""
        return self._sim.statistics().messages_sent == received

    def _note(self, changes: Sequence[object], now: float) -> None:
        self._orders += [change.order for change in changes if isinstance(change, OrderChanged)]


def received_prints(frame: LiveFrame) -> list[Print]:
    rows: pd.DataFrame = frame.df
    times = rows.index.as_unit("ns").astype("int64")
    return list(zip(times.tolist(), rows["price"].tolist(), rows["size"].tolist(), strict=True))


def received_states(orders: LiveTable) -> list[OrderState]:
    log = orders.log
    moments = log["updated"].dt.as_unit("ns").astype("int64") // 10**6
    return list(zip(log["symbol"], log["status"], map(float, log["filled"]), moments.tolist(), strict=True))
