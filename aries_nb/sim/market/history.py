"""History of the simulated market: bars and trades of the days before its start, and of the live trades since.

Those before the start ("the past") are generated from the seed. No I/O; time is passed in. All bars are aggregates of
one-minute bars; the past ends at the market's figures at the start (opening, high, low, volume, previous close). Past
sessions are weekdays and the day of the start, 09:30-16:00 New York time without holidays unless a share has other
hours; the simulated market itself trades at any hour while it runs.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from datetime import time as day_time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np

from aries_nb.sim.market.instruments import NEW_YORK_HOURS
from aries_nb.sim.market.trade_log import TradeLog

if TYPE_CHECKING:
    from aries_nb.sim.market.instruments import Hours
    from aries_nb.sim.market.listings import EquityListing
    from aries_nb.sim.market.market import Market

__all__ = [
    "BARS",
    "NEW_YORK",
    "SESSION_MINUTES",
    "TRADES",
    "BarArray",
    "History",
    "Resolution",
    "TradeArray",
    "session_open",
]

BarArray: TypeAlias = np.ndarray[tuple[int], np.dtype[np.void]]
Ints: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]
Ints2: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.int64]]
#: A row of `BarArray`. `time` is the start in Unix s, prices are in the share's currency, `turnover` sums price x size.
BARS = np.dtype(
    {
        "names": ["time", "open", "high", "low", "close", "volume", "turnover", "trades"],
        "formats": ["i8", "f8", "f8", "f8", "f8", "i8", "f8", "i8"],
    }
)
TradeArray: TypeAlias = np.ndarray[tuple[int], np.dtype[np.void]]
#: A row of `TradeArray`: Unix ns, the share's currency, shares.
TRADES = np.dtype({"names": ["time", "price", "size"], "formats": ["i8", "f8", "f8"]})
NEW_YORK = ZoneInfo("America/New_York")
OPENING_MINUTE = NEW_YORK_HOURS.opening
SESSION_MINUTES = NEW_YORK_HOURS.minutes
MINUTE, DAY = 60, 86_400
SECOND_NS = 1_000_000_000
#: Three years; the first of these sessions has the first bars of a share.
PAST_SESSIONS = 780
YEAR_SESSIONS = 252
#: Shares of a day's variance between close and opening, and within the session.
NIGHT_VARIANCE, SESSION_VARIANCE = 0.25, 0.75
#: Steps between the prices of a minute: it has one price more, each for an equal time and number of trades; the last is
#: the first price of the next minute.
STEPS_PER_MINUTE = 4
#: Mean lots per trade, as in the listings.
MEAN_TRADE = 110
#: Past sessions whose single trades are available, and the trade numbers reserved for each.
TRADE_SESSIONS, SESSION_NUMBERS = 60, 10_000_000


class Resolution(NamedTuple):
    """Length of a bar: `length` times `unit`.

    Bars of minutes are counted from the session's opening, others by the calendar. Bars of a day or more start at
    00:00 UTC of their first date in New York (assumed: TradingView's convention).
    """

    unit: Literal["minute", "day", "week", "month"]
    length: int


class History:
    """Bars and trades of all symbols of a market, before and after its start. `start` is Unix time in s.

    The trades before the start are generated so that they end at the market's state at `start`, before it moves.
    `trade` must be called with every live trade. A minute without a trade has no bar. Indices and options have only
    live trades. Owned by the server's event loop, except for methods marked "any thread".
    """

    def __init__(self, market: Market, start: float) -> None:
        self.start = start
        self.log = TradeLog()
        sessions = {
            hours: _sessions(start, hours) for hours in {share.equity.hours for share in market.shares.values()}
        }
        self._pasts = {
            symbol: _Past(market.seed, share, sessions[share.equity.hours]) for symbol, share in market.shares.items()
        }
        self._minutes: defaultdict[str, list[list[Any]]] = defaultdict(list)

    def trade(self, symbol: str, ts_ns: int, price: float, size: float) -> None:
        """Add one live trade at `ts_ns` (Unix ns); one that comes late is counted in the bar of the newest minute."""
        self.log.add(symbol, ts_ns, price, size)
        start = ts_ns // 1_000_000_000 // MINUTE * MINUTE
        minutes = self._minutes[symbol]
        if not minutes or start > minutes[-1][0]:
            minutes.append([start, price, price, price, price, size, price * size, 1])
            return
        minute = minutes[-1]
        if price > minute[2]:
            minute[2] = price
        elif price < minute[3]:
            minute[3] = price
        minute[4] = price
        minute[5] += size
        minute[6] += price * size
        minute[7] += 1

    def bars(self, symbol: str, resolution: Resolution, first: float, last: float) -> BarArray:
        """Return the bars that start in [first, last), Unix s, oldest first, as an array of `BARS` rows.

        The last bar is complete even if it ends after `last`.
        """
        unit, length = resolution
        live, past = self._live(symbol), self._pasts.get(symbol)
        if unit == "minute":
            reach = length * MINUTE
            older = past.minutes(first - reach, last + reach) if past else _none()
            found = np.concatenate([older, live])
            found = _merged(found, _slots(found["time"], length))
        else:
            older = past.days(first) if past else _none()
            found = np.concatenate([older, _merged(live, _dates(live["time"]))])
            found = _merged(found, _periods(found["time"], unit, length))
        times = found["time"]
        return found[(times >= first) & (times < last)]

    def before(self, symbol: str, resolution: Resolution, stamp: float) -> int | None:
        """Return the start of the newest bar that starts before `stamp`, both in Unix s; None if there is none."""
        ends = [minutes[-1][0] for minutes in (self._minutes.get(symbol),) if minutes]
        if symbol in self._pasts:
            ends.append(self._pasts[symbol].end)
        if not ends:
            return None
        stamp = min(stamp, max(ends) + 1)
        # A weekend has nearly three days without a bar.
        reach = 5 * DAY + resolution.length * MINUTE if resolution.unit == "minute" else math.inf
        found = self.bars(symbol, resolution, stamp - reach, stamp)
        return int(found["time"][-1]) if len(found) else None

    def trades(self, symbol: str, first: float, last: float) -> TradeArray:
        """Return every trade of a symbol in [first, last), Unix s, oldest first, as an array of `TRADES` rows.

        They are the trades of which all bars are made. Those before the start are generated by each call, about
        500,000 per session. Raises UsageError if live trades were dropped.
        """
        columns = self.log.trades(symbol)
        live = np.empty(len(columns[0]), TRADES)
        for name, column in zip(TRADES.names or (), columns, strict=True):
            live[name] = column
        past = self._pasts.get(symbol)
        found = np.concatenate([past.trades(first, last), live]) if past else live
        times = found["time"]
        return found[(times >= first * SECOND_NS) & (times < last * SECOND_NS)]

    def sessions(self, symbol: str) -> list[tuple[date, int, int]]:
        """Return the symbol's trading sessions before the start, oldest first.

        Each is (date, opening in Unix s, length in minutes). Empty for an index, an option or an unknown
        symbol.
        """
        return self._pasts[symbol].sessions if symbol in self._pasts else []

    def prepare_days(self, symbol: str) -> None:
        """Generate the symbol's daily bars before the start, so that later calls of `bars` are fast.

        Slow; may run on any thread.
        """
        if symbol in self._pasts:
            self._pasts[symbol].days()

    def past_trades(self, symbol: str, span: tuple[int, int], skipped: int, most: int) -> tuple[int, Ints, TradeArray]:
        """Return a page of the trades before the start, in a span of Unix ns with both ends included.

        The result is the total number of trades in the span, the positions of those on the page, and the page
        itself: at most `most` trades, oldest first, after the first `skipped` ones. A position is a trade's
        number among all past trades. Only the last sixty sessions have trades. Any thread.
        """
        past = self._pasts.get(symbol)
        return past.page(span, skipped, most) if past else (0, np.empty(0, np.int64), np.empty(0, TRADES))

    def _live(self, symbol: str) -> BarArray:
        return np.array([tuple(minute) for minute in self._minutes.get(symbol, ())], BARS)


class _Past:
    """One share's trading sessions before the market's start, generated as a function of seed, symbol and date.

    `sessions` are (date, opening in Unix s, length in minutes), oldest first; sessions are numbered by their
    position there. Times are in Unix s. `days` and `page` may be called on any thread.
    """

    def __init__(self, seed: int, share: EquityListing, sessions: list[tuple[date, int, int]]) -> None:
        self.sessions = sessions
        self._scale, self._hours, self._lot = share.scale, share.equity.hours, share.lot
        self._opens = [opened for _, opened, _ in sessions]
        self._name = f"{seed} {share.symbol}"
        self._below = share.below
        above = share.below / share.scale
        self._figures = (
            share.previous_close + above, share.opening, share.high + above, share.low + above, share.volume
        )  # fmt: skip
        self._deviation = share.equity.volatility / math.sqrt(YEAR_SESSIONS)
        self._usual_volume = share.equity.volume * 1e6
        self._ends: list[tuple[float, float]] = []
        self._stamps = [opened // DAY * DAY for _, opened, _ in sessions]
        self._days = len(sessions), _none()  # number of the first session with a daily bar
        self._counted: dict[int, int] = {}

    @property
    def end(self) -> int:
        """The start, in Unix s, of the last minute before the market's start that has a bar."""
        _, opened, minutes = self.sessions[-1]
        return opened + (minutes - 1) * MINUTE

    def minutes(self, first: float, last: float) -> BarArray:
        """Return the one-minute bars of all sessions that touch [first, last), Unix s.

        All bars of each, oldest first.
        """
        return np.concatenate([_none(), *(self._session(number) for number in self._touched(first, last))])

    def trades(self, first: float, last: float) -> TradeArray:
        """Return the trades of all sessions that touch [first, last), Unix s; all trades of each, oldest first."""
        sessions = (self._traded(number) for number in self._touched(first, last))
        return np.concatenate([np.empty(0, TRADES), *sessions])

    def days(self, first: float = -math.inf) -> BarArray:
        """Return one bar per session from `first` on (Unix s), with 00:00 UTC of its date as time.

        May include earlier ones. Each bar is generated once and retained; generating all of them takes a while.
        """
        known, days = self._days
        wanted = bisect_left(self._stamps, first)
        if wanted < known:
            bars = [self._session(number) for number in range(wanted, known)]
            starts = np.repeat(self._stamps[wanted:known], [len(session) for session in bars])
            known, days = wanted, np.concatenate([_merged(np.concatenate(bars), starts), days])
            self._days = known, days
        return days

    def page(self, span: tuple[int, int], skipped: int, most: int) -> tuple[int, Ints, TradeArray]:
        """Return total number, positions and a page of past trades.

        The arguments and the result are those of `History.past_trades`. Any thread.
        """
        first, last = span
        total, found = 0, [(np.empty(0, np.int64), np.empty(0, TRADES))]
        left = most
        oldest = max(0, len(self.sessions) - TRADE_SESSIONS)
        for number in range(oldest, len(self.sessions)):
            _, opened, minutes = self.sessions[number]
            begin, end = opened * SECOND_NS, (opened + minutes * MINUTE) * SECOND_NS
            if end <= first or begin > last:
                continue
            is_whole = first <= begin and end <= last
            # Sessions that are not on the page are only counted.
            if is_whole and (not left or total + self._count(number) <= skipped):
                total += self._count(number)
                continue
            trades = self._traded(number)
            times = trades["time"]
            low, high = int(np.searchsorted(times, first)), int(np.searchsorted(times, last, "right"))
            begin_at = low + max(skipped - total, 0)
            end_at = min(high, begin_at + left)
            if begin_at < end_at:
                place = (number - oldest) * SESSION_NUMBERS
                found.append((place + np.arange(begin_at, end_at), trades[begin_at:end_at]))
                left -= end_at - begin_at
            total += high - low
        places, pages = zip(*found, strict=True)
        return total, np.concatenate(places), np.concatenate(pages)

    def _count(self, number: int) -> int:
        """Return the number of trades of a session, which is given by its number, counted from 0 at the oldest."""
        if number not in self._counted:
            _, volumes = self._minute_prices(number)
            self._counted[number] = int(_counts(volumes // self._lot).sum())
        return self._counted[number]

    def _touched(self, first: float, last: float) -> range:
        return range(max(0, bisect_left(self._opens, first) - 1), bisect_left(self._opens, last))

    def _session(self, number: int) -> BarArray:
        _, opened, minutes = self.sessions[number]
        prices, volumes = self._minute_prices(number)
        bars = np.empty(minutes, BARS)
        bars["time"] = opened + MINUTE * np.arange(minutes)
        bars["open"], bars["close"] = (
            (prices[:, 0] - self._below) / self._scale,
            (prices[:, -1] - self._below) / self._scale,
        )
        bars["high"], bars["low"] = (
            (prices.max(axis=1) - self._below) / self._scale,
            (prices.min(axis=1) - self._below) / self._scale,
        )
        bars["volume"] = volumes
        lots = volumes // self._lot
        bars["turnover"] = (
            (prices - self._below) / self._scale * _split_evenly(lots, STEPS_PER_MINUTE + 1) * self._lot
        ).sum(axis=1)
        bars["trades"] = _counts(lots)
        return bars

    def _traded(self, number: int) -> TradeArray:
        """Return the trades of a session, oldest first; `number` counts from 0 at the oldest session.

        Each of a minute's prices gets an equal part of the minute's time, volume and number of trades.
        """
        _, opened, minutes = self.sessions[number]
        prices, volumes = self._minute_prices(number)
        lots = volumes // self._lot
        counts = _split_evenly(_counts(lots), STEPS_PER_MINUTE + 1).ravel()
        place = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts)  # of a trade within its price
        many = np.repeat(counts, counts)
        length = MINUTE * SECOND_NS // (STEPS_PER_MINUTE + 1)
        begin = opened * SECOND_NS + length * np.arange(minutes * (STEPS_PER_MINUTE + 1))
        volume = np.repeat(_split_evenly(lots, STEPS_PER_MINUTE + 1).ravel(), counts)
        trades = np.empty(len(place), TRADES)
        trades["time"] = np.repeat(begin, counts) + length * place // many
        trades["price"] = np.repeat(prices.ravel() - self._below, counts) / self._scale
        trades["size"] = (volume * (place + 1) // many - volume * place // many) * self._lot
        return trades

    def _minute_prices(self, number: int) -> tuple[Ints2, Ints]:
        """Return prices and volumes of the minutes of a session; `number` counts from 0 at the oldest session.

        Prices are in ticks, one row per minute, in order of time; volumes in shares.
        """
        day, _, minutes = self.sessions[number]
        random = _random(f"{self._name} {day}")
        first, last = self._ends_of(number)
        scale, lot = self._scale, self._lot
        step = self._deviation * math.sqrt(SESSION_VARIANCE / (self._hours.minutes * STEPS_PER_MINUTE))
        ticks = _bridge(random, first * scale, last * scale, minutes * STEPS_PER_MINUTE, step)
        volume = int(self._usual_volume * random.lognormal(0.0, 0.25))
        if number == len(self.sessions) - 1:
            _, _, high, low, volume = self._figures
            _scale_range(ticks, round(high * scale), round(low * scale))
        prices = np.column_stack(
            [ticks[:-1].reshape(minutes, STEPS_PER_MINUTE), ticks[STEPS_PER_MINUTE::STEPS_PER_MINUTE]]
        )
        # Busy at the opening and at the close.
        busy = (1.0 + 6.0 * (np.arange(minutes) / self._hours.minutes - 0.5) ** 2) * random.gamma(4.0, size=minutes)
        edges = np.rint(np.concatenate([[0.0], busy.cumsum() / busy.sum()]) * (volume // lot)) * lot
        return prices, np.diff(edges).astype(np.int64)

    def _ends_of(self, number: int) -> tuple[float, float]:
        """Return the first and last price of a session, in the share's currency.

        `number` counts from 0 at the oldest session. The prices are drawn backwards in time, from the market's
        state at its start.
        """
        if not self._ends:
            random = _random(f"{self._name} days")
            count = len(self.sessions)
            gains = random.normal(0.0, self._deviation * math.sqrt(SESSION_VARIANCE), count)
            gaps = random.normal(0.0, self._deviation * math.sqrt(NIGHT_VARIANCE), count)
            previous, opening, *_ = self._figures
            ends, close = [(opening, opening)], previous
            for gain, gap in zip(gains[1:], gaps[1:], strict=True):
                first = max(100, round(close / math.exp(gain) * self._scale)) / self._scale
                ends.append((first, close))
                close = max(100, round(first / math.exp(gap) * self._scale)) / self._scale
            self._ends = ends[::-1]
        return self._ends[number]


def session_open(day: date, hours: Hours = NEW_YORK_HOURS) -> int:
    """Return the time at which a weekday's trading session opens, in Unix s."""
    return int(datetime.combine(day, day_time(*divmod(hours.opening, 60)), ZoneInfo(hours.zone)).timestamp())


def _sessions(start: float, hours: Hours) -> list[tuple[date, int, int]]:
    """Return the 780 sessions before `start` (Unix s), oldest first: date, opening in Unix s, length in minutes.

    The last one is cut at `start` if that is within it. It may be on a weekend: the simulated market trades then too.
    """
    found: list[tuple[date, int, int]] = []
    today = day = datetime.fromtimestamp(start, ZoneInfo(hours.zone)).date()
    while len(found) < PAST_SESSIONS:
        if day.weekday() < 5 or day == today:
            opened = session_open(day, hours)
            minutes = min(hours.minutes, int(start - opened) // MINUTE)
            if minutes > 0:
                found.append((day, opened, minutes))
        day -= timedelta(days=1)
    return found[::-1]


def _random(name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:16]))


def _bridge(random: np.random.Generator, first: float, last: float, steps: int, step: float) -> Ints:
    """Return a random walk of `steps` steps from `first` to `last`, prices in ticks, as `steps` + 1 whole ticks.

    `step` is the standard deviation of a step's logarithmic return.
    """
    walk = np.concatenate([[0.0], random.normal(0.0, step, steps).cumsum()])
    walk += np.linspace(0.0, math.log(last / first) - walk[-1], steps + 1)
    ticks: Ints = np.maximum(1, np.rint(first * np.exp(walk))).astype(np.int64)
    return ticks


def _scale_range(ticks: Ints, high: int, low: int) -> None:
    """Scale the prices `ticks` of a random walk, in place, so that the highest is `high` and the lowest `low` ticks.

    Its first and last price are unchanged.
    """
    start, inner = int(ticks[0]), ticks[1:-1]
    away = (inner - start).astype(float)
    top, bottom = int(away.argmax()), int(len(away) - 1 - away[::-1].argmin())
    rise, fall = (high - start) / max(1.0, away.max()), (start - low) / max(1.0, -away.min())
    inner[:] = np.rint(np.where(away > 0, away * rise, away * fall)) + start
    inner[top], inner[bottom] = high, low


def _counts(lots: Ints) -> Ints:
    """Return the number of trades of each minute, given its volume in lots; a minute has at least 5.

    Each of its five prices has at least one trade.
    """
    return np.maximum(STEPS_PER_MINUTE + 1, lots // MEAN_TRADE)


def _split_evenly(numbers: Ints, parts: int) -> Ints2:
    """Split each whole number into `parts` whole parts that differ by at most one; return one row per number."""
    edges = numbers[:, None] * np.arange(parts + 1) // parts
    return np.diff(edges, axis=1)


def _none() -> BarArray:
    return np.empty(0, BARS)


def _merged(bars: BarArray, starts: Ints) -> BarArray:
    """Return the bars with each run of equal `starts` (Unix s, one per bar) merged into one bar."""
    if not len(bars):
        return bars
    first = np.flatnonzero(np.concatenate([[True], starts[1:] != starts[:-1]]))
    last = np.concatenate([first[1:], [len(bars)]]) - 1
    merged = np.empty(len(first), BARS)
    merged["time"] = starts[first]
    merged["open"], merged["close"] = bars["open"][first], bars["close"][last]
    merged["high"] = np.maximum.reduceat(bars["high"], first)
    merged["low"] = np.minimum.reduceat(bars["low"], first)
    for name in ("volume", "turnover", "trades"):
        merged[name] = np.add.reduceat(bars[name], first)
    return merged


def _slots(times: Ints, minutes: int) -> Ints:
    """Return, for each time (Unix s), the start in Unix s of the bar of `minutes` length that contains it.

    Bars are counted from 09:30 New York time.
    """
    length, local = minutes * MINUTE, _local(times)
    return times - (local - OPENING_MINUTE * MINUTE) % length


def _dates(times: Ints) -> Ints:
    """Return, for each time (Unix s), its date in New York, as 00:00 UTC of that date in Unix s."""
    return _local(times) // DAY * DAY


def _periods(days: Ints, unit: str, count: int) -> Ints:
    """Return, for each day (00:00 UTC, in Unix s), the start of the calendar period that contains it.

    A period has `count` days, weeks (from Monday) or months, by `unit`.
    """
    days = days // DAY
    if unit == "day":
        days = days // count * count
    elif unit == "week":
        days = (days + 3) // 7 // count * count * 7 - 3  # 1970-01-01 was a Thursday
    else:
        months = days.astype("M8[D]").astype("M8[M]").astype(np.int64) // count * count
        days = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    return np.asarray(days * DAY)


def _local(times: Ints) -> Ints:
    """Return UTC times (Unix s) as New York wall-clock time, in s since 1970-01-01 00:00 there.

    One offset is computed per hour, as it changes at whole hours only.
    """
    hours, places = np.unique(times // 3600, return_inverse=True)
    moments = (datetime.fromtimestamp(int(hour) * 3600, UTC).astimezone(NEW_YORK) for hour in hours)
    offsets = [int((moment.utcoffset() or timedelta()).total_seconds()) for moment in moments]
    return times + np.array(offsets, np.int64)[places]
