"""What must hold in every run: the sums of the ledger, the rows, the gaps, and the final state."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aries_nb.model import TABLE_KEYS
from tests.faults import others

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from aries_nb.live import LiveBook, LiveFrame, LiveTable
    from tests.faults.course import Course, Ground
    from tests.faults.messages import Key
    from tests.faults.pipe import Crossing, Line

__all__ = ["delivered", "problems", "wanted"]

US = 1_000
MS = 1_000_000
MOST_UNREAD = 200  # at the end of one connection
LEAST_LAG_NS = 1_000 * MS  # from the proxy to the client, for its turns and ours
KINDS = {
    "aries": {"quotes": ("quote", "trade"), "few": ("quote",), "trades": ("timeAndSales",), "book": ("level2",)},
    "alor": {
        "quotes": ("QuotesSubscribe@20",),
        "few": ("QuotesSubscribe@20",),
        "trades": ("AllTradesGetAndSubscribe",),
        "book": ("OrderBookGetAndSubscribe@20",),
    },
}
QUOTE = ("bid_price", "bid_size", "ask_price", "ask_size", "last_price")
ARIES_QUOTE = ("bidPrice", "bidSize", "askPrice", "askSize", "lastPrice")
ALOR_QUOTE = ("bid", "bv", "ask", "av", "c")
_STEADY = {"positions": ("symbol", "quantity", "average_price"), "balances": ("account", "cash")}
Row = tuple[Any, ...]


def problems(course: Course) -> Iterator[str]:
    """Descriptions of everything that does not hold."""
    slack = lag(course)
    yield from _sums(course)
    yield from _rows(course)
    keys = {key for name in KINDS[course.ground.name] for key in _keys(course, name, course.ground.symbols)}
    yield from _losses(course, slack, "market", keys)
    charts = {(kind, symbol) for kind in others.CHARTS.values() for symbol in course.ground.symbols}
    yield from _losses(course, slack, "charts", charts)
    yield from _end(course)
    ours, theirs = course.client.others, course.witness.others
    if ours is not None and theirs is not None:
        yield from others.problems(ours, theirs, list(course.proxy.crossings), _turned_round(course))


def wanted(ground: Ground) -> set[Key]:
    """The streams of which a message must have arrived before the outcome can be judged."""
    kinds, symbols = KINDS[ground.name], ground.symbols
    return {(kinds["quotes"][0], symbol) for symbol in symbols} | {(kinds["book"][0], symbols[0])}


def delivered(course: Course, name: str, symbols: Iterable[str]) -> Iterator[tuple[Line, Crossing]]:
    """The messages of these streams that the client got, in order, with their connection."""
    keys = _keys(course, name, symbols)
    for crossing in course.proxy.crossings:
        for line in list(crossing.delivered):
            if line.key in keys:
                yield line, crossing


def lag(course: Course) -> int:
    """The longest time from the proxy to a row, in ns: on a busy machine the client is slow."""
    late = [0]
    for symbol in course.ground.symbols:
        delivered_rows = iter(list(_quotes_delivered(course, symbol)))
        for ts, *values, received in _rows_of(course.client.quotes, symbol, (*QUOTE, "received")):
            at = received.as_unit("ns").value
            late.append(at - next((line.delivered[0] for each, line in delivered_rows if each == (ts, *values)), at))
    return 3 * max(late) + LEAST_LAG_NS


# The ledger.


def _sums(course: Course) -> Iterator[str]:
    client, one = course.client, course.ground.symbols[0]
    # What had come when a connection ended, but was not read: a client that writes to a connection that is no more
    # loses what its system holds for it. Its count of messages of any kind shows what the client has not seen. Answers
    # to pings come while this looks, many on a busy machine: it counts what it compares with before and after.
    taken = client.feed.stats().messages
    delivered_messages = sum(len(each.delivered) for each in course.proxy.crossings)
    least, unread = delivered_messages - client.feed.stats().messages, delivered_messages - taken
    most = MOST_UNREAD * sum(each.ended > 0 for each in course.proxy.crossings)
    if unread < 0 or least > most:
        yield f"{least} to {unread} messages were delivered and not taken"
    sent = course.sim.statistics().messages_sent
    come = course.come()
    least_more, more = come - course.sim.statistics().messages_sent, come - sent
    if more < 0 or least_more > most:
        yield f"{least_more} to {more} messages more have come than the server has sent: {course}"
    for name, held, symbols, before in (
        ("quotes", client.quotes, course.ground.symbols, 0),
        ("trades", client.trades, course.ground.symbols, 0),
        ("few", client.few, (one,), client.before_few),
        ("book", client.book, (one,), 0),
    ):
        ledger = held.ledger
        delivered_rows = sum(1 for _ in delivered(course, name, symbols)) - before
        if not delivered_rows - unread <= ledger.received <= delivered_rows:
            yield f"{held!r}: {delivered_rows} messages were delivered, {unread} of any stream not taken, but {ledger}"
        if 2 * (ledger.received + ledger.filled) != sum(ledger):
            yield f"{held!r}: the parts do not add up: {ledger}"
    for table in client.tables:
        ledger = table.ledger
        if 2 * (ledger.received + ledger.filled) != sum(ledger):
            yield f"{table!r}: the parts do not add up: {ledger}"


def _keys(course: Course, name: str, symbols: Iterable[str]) -> set[Key]:
    return {(kind, symbol) for kind in KINDS[course.ground.name][name] for symbol in symbols}


# Rows.


def _rows(course: Course) -> Iterator[str]:
    for frame in (course.client.quotes, course.client.trades, course.client.few):
        arrived, shown = _arrived(frame), frame.df
        if not shown.equals(arrived.sort_index(kind="stable")):
            yield f"{frame!r}: its rows by exchange time are not those that arrived:\n{shown}\n{arrived}"
    for symbol in course.ground.symbols:
        yield from _quote_rows(course, symbol)
        yield from _trade_rows(course, symbol)


def _quote_rows(course: Course, symbol: str) -> Iterator[str]:
    rows = _rows_of(course.client.quotes, symbol, QUOTE)
    expected = [row for row, _ in _quotes_delivered(course, symbol)]
    if (at := _first_invented(rows, expected)) is not None:
        yield f"quotes {symbol}: row {at} of {len(rows)} was not sent, is doubled or out of order: {rows[at]}"


def _trade_rows(course: Course, symbol: str) -> Iterator[str]:
    trades = course.client.trades
    rows = _rows_of(trades, symbol, ("price", "size", "trade_id", "venue"))
    delivered_rows = [_trade(course, line) for line, _ in delivered(course, "trades", [symbol])]
    ids = [row[3] for row in rows]
    doubled = [each for each, count in Counter(ids).items() if count > 1]
    if doubled:
        yield f"trades {symbol}: doubled ids {doubled[:5]}"
    # What comes out of the broker's history is not on the way through the proxy: the witness saw it as it happened.
    seen = _rows_of(course.witness.trades, symbol, ("price", "size", "trade_id", "venue"))
    invented = set(rows) - {*delivered_rows, *(seen if course.ground.name == "alor" else ())}
    if invented:
        yield f"trades {symbol}: never sent: {sorted(invented)[:3]}"
    steps = np.diff(np.array(ids, "int64"))
    if (steps < 0).any() and _turned_round(course).isdisjoint(_keys(course, "trades", [symbol])):
        at = int(np.argmax(steps < 0))
        yield f"trades {symbol}: out of order: {ids[max(at - 2, 0) : at + 4]}"


def _turned_round(course: Course) -> set[Key]:
    """The streams with messages in the wrong order: only their order of arrival can be kept."""
    turned: set[Key] = set()
    for crossing in course.proxy.crossings:
        places = {id(line): at for at, line in enumerate(crossing.sent)}
        latest: dict[Key, int] = {}
        for line in crossing.delivered:
            if line.key is not None:
                place = places[id(line)]
                if place < latest.get(line.key, 0):
                    turned.add(line.key)
                latest[line.key] = place
    return turned


def _arrived(frame: LiveFrame) -> pd.DataFrame:
    """The rows in the order of arrival: `df` is ordered by exchange time, and a snapshot has older ones."""
    rows, _ = frame._tape.frame_since(0)
    return rows


def _rows_of(frame: LiveFrame, symbol: str, names: Sequence[str]) -> list[Row]:
    """Time in ms and values of each row, in the order of arrival; None for what is missing."""
    rows = _arrived(frame)
    rows = rows[rows["symbol"] == symbol]
    columns = [rows[name].tolist() for name in names]
    times = (rows.index.as_unit("ns").astype("int64") // MS).tolist()
    return [_row(ts, values) for ts, *values in zip(times, *columns, strict=True)]


def _row(ts: int, values: Iterable[Any]) -> Row:
    return (ts, *(None if isinstance(value, float) and math.isnan(value) else value for value in values))


def _quotes_delivered(course: Course, symbol: str) -> Iterator[tuple[Row, Line]]:
    """The rows expected from the delivered messages, computed from the messages alone."""
    keys = _keys(course, "quotes", [symbol])
    for crossing in course.proxy.crossings:
        known: dict[str, float] = {}
        for line in crossing.delivered:
            if line.key not in keys:
                continue
            message = json.loads(line.text)
            if course.ground.name == "alor":
                data = message["data"]
                ts = data.get("tso") or data["tst"] * 1000
                yield _row(ts, (_number(data.get(name)) for name in ALOR_QUOTE)), line
                continue
            payload = message["payload"]
            data = payload["data"]
            known |= {name: data[name] for name in ARIES_QUOTE if name in data}
            stamp = data.get("quoteTimestamp" if line.key[0] == "quote" else "tradeTimestamp")
            yield _row(stamp or payload["timestamp"], (_number(known.get(name)) for name in ARIES_QUOTE)), line


def _trade(course: Course, line: Line) -> Row:
    message = json.loads(line.text)
    if course.ground.name == "alor":
        data = message["data"]
        return data["t"], float(data["px"]), float(data["q"]), data["id"], data["bd"]
    data = message["payload"]["data"]
    number, venue = int(data["tradeSeq"]), data["tradeExchange"]
    return int(data["tradeTimestamp"]), float(data["price"]), float(data["size"]), number, venue


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _first_invented(rows: Sequence[Row], delivered_rows: Sequence[Row]) -> int | None:
    """Position of the first row that was not delivered in this order; None where all were."""
    rest = iter(delivered_rows)
    for at, row in enumerate(rows):
        if not any(row == each for each in rest):
            return at
    return None


# Losses.


def _losses(course: Course, slack: int, stream: str, keys: set[Key]) -> Iterator[str]:
    """Every message that the server sent and the client did not get lies in a gap, and every gap has its break.

    `keys` are the messages of one endpoint, `stream` its name in the log of gaps.
    """
    gaps = course.client.feed.gaps.df
    gaps = gaps[(gaps["symbol"] == "") & (gaps["stream"] == stream)]
    spans = [(_ns(gap.started), _ns(gap.ended)) for gap in gaps.itertuples()]
    crossings = [each for each in course.proxy.crossings if any(line.key in keys for line in each.sent)]
    if gaps["ended"].isna().any():
        yield f"a gap is still open: {gaps}"
        return
    for place, crossing in enumerate(crossings):
        lost = [line for line in crossing.sent if line.key in keys and not line.delivered]
        if not lost or place == len(crossings) - 1:
            if lost:
                yield f"{len(lost)} messages were never delivered on the last connection"
            continue
        begin = max((line.delivered[-1] for line in crossing.delivered if line.delivered), default=crossing.opened)
        later = (line.delivered[0] for each in crossings[place + 1 :] for line in each.delivered if line.key in keys)
        end = min(later, default=begin)
        end -= end % US  # as the times of the gaps
        if not any(started <= begin + slack and ended >= end for started, ended in spans):
            yield f"{len(lost)} messages lost on connection {crossing.number} ({begin} to {end}) are in no gap: {spans}"
    ends = [each.ended for each in course.proxy.crossings if each.ended]
    if len(spans) > len(ends):
        yield f"{len(spans)} gaps, but {len(ends)} breaks"
    for started, ended in spans:
        if not any(started - slack <= each <= ended + slack for each in ends):
            yield f"a gap without a break: {started} to {ended}; breaks {ends}"


def _ns(time_: pd.Timestamp) -> int:
    return int(time_.as_unit("ns").value)


# What is there at the end.


def _end(course: Course) -> Iterator[str]:
    client, witness = course.client, course.witness
    for name in ("quotes", "few"):
        ours, theirs = (getattr(each, name).latest.drop(columns=["received"]) for each in (client, witness))
        common = [column for column in QUOTE if column in ours]
        # Of two changes that came in the wrong order it cannot be known which is the later one.
        is_known = course.ground.name == "alor" or _turned_round(course).isdisjoint(_keys(course, name, ours.index))
        if is_known and not ours[common].equals(theirs[common]):
            yield f"latest {name} differ:\n{ours}\n{theirs}"
    yield from _book(course)
    market = {kind for kinds in KINDS[course.ground.name].values() for kind in kinds}
    is_in_order = all(kind in market for kind, _ in _turned_round(course))
    for ours, theirs in zip(client.tables, witness.tables, strict=True) if is_in_order else ():
        one, two = (_table(table) for table in (ours, theirs))
        for key in sorted(one.keys() | two.keys()):
            pairs = zip(one.get(key, [("", "no row")]), two.get(key, [("", "no row")]), strict=False)
            if differ := [pair for pair in pairs if pair[0] != pair[1]]:
                yield f"{ours!r}: {key} differs, ours and theirs: {differ}"
        if ours.is_stale:
            yield f"{ours!r} is stale"
    if len(witness.feed.gaps):
        yield f"the witness broke: {witness.feed.gaps.df}"
    if client.book.integrity not in ("ok", "stale"):
        yield f"the book is {client.book.integrity}"
    if course.ground.name == "alor":
        yield from _filled_trades(course)


def _table(table: LiveTable) -> dict[str, list[tuple[str, str]]]:
    """The rows without the columns that depend on when they were sent: not each change of a price is sent.

    A closed position is sent to clients that were connected then, and not to later ones.
    """
    names = _STEADY.get(table.kind) or [column.name for column in table.columns]
    key = TABLE_KEYS[table.kind] or ("account",)
    rows = [row for row in table.rows() if table.kind != "positions" or row["quantity"]]
    return {str([row[name] for name in key]): [(name, str(row[name])) for name in names] for row in rows}


def _book(course: Course) -> Iterator[str]:
    """The levels; of a broker that sends changes alone, those that have changed since the break."""
    ours, theirs = (_levels(each.book) for each in (course.client, course.witness))
    if not _turned_round(course).isdisjoint(_keys(course, "book", [course.ground.symbols[0]])):
        return  # changes of levels the wrong way round make another book
    is_whole = course.ground.name == "alor" or not len(course.client.feed.gaps)
    if is_whole and ours != theirs:
        yield f"books differ: ours {sorted(ours - theirs)}, theirs {sorted(theirs - ours)}"
    if ours - theirs:
        yield f"levels that are not there: {sorted(ours - theirs)}"


def _levels(book: LiveBook) -> set[tuple[str, float, float]]:
    now = book._source.levels(1_000)
    sides = (("buy", now.bids), ("sell", now.asks))
    return {(side, float(price), float(size)) for side, levels in sides for price, size in levels}


def _filled_trades(course: Course) -> Iterator[str]:
    """Where the broker has a history, no trade is missing at the end, and each gap is marked as filled."""
    gaps = course.client.feed.gaps.df
    breaks, trades = (gaps[gaps["stream"] == name] for name in ("market", "market trades"))
    # A stream that broke before the server had accepted it has no past that could be asked for.
    begun = breaks[breaks["started"] >= course.client.trades.df["received"].min()]
    if not set(begun["started"]) <= set(trades["started"]) <= set(breaks["started"]) or not trades["filled"].all():
        yield f"gaps of trades that are not marked as filled:\n{gaps.to_string()}"
    names = ("price", "size", "side", "trade_id", "venue")
    for symbol in course.ground.symbols:
        ours, theirs = (_rows_of(each.trades, symbol, names) for each in (course.client, course.witness))
        if not ours:
            continue
        first = min(row[4] for row in ours)
        expected = [row for row in theirs if row[4] >= first]
        if sorted(ours, key=lambda row: row[4]) != expected:
            missing = [row[4] for row in expected if row not in set(ours)]
            yield f"trades {symbol}: {len(ours)} rows, the witness has {len(expected)}; missing {missing[:10]}"
