"""The named troubles of simulated markets, and when they happen: what brokers send that a kind market never does.

A trouble happens to a subject (a symbol, an account, a path over HTTP) at times drawn from the seed, or at set ones
(`aries_nb.sim.market.schedule`); the random numbers of the market itself stay as they are. None is on by default.
Source: reports from the field, and what the protocol pages leave open ("assumed" where a page does not say how the
broker reports it).
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, get_args

from aries_nb.errors import UsageError
from aries_nb.sim.market.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aries_nb.sim.market.schedule import PlannedAt

__all__ = [
    "SIMULATED",
    "TROUBLES",
    "Delays",
    "Occurrences",
    "Roughness",
    "Spells",
    "Trouble",
    "read_troubles",
    "trouble_named",
]

Trouble: TypeAlias = Literal[
    "missing_sides",
    "stub_quotes",
    "crossed_books",
    "halts",
    "late_prints",
    "corrected_prints",
    "cancelled_prints",
    "times_ahead",
    "times_in_seconds",
    "delays",
    "extreme_prices",
    "extreme_sizes",
    "server_spelling",
    "stream_refusals",
    "hanging_http",
    "disordered_events",
    "repeated_events",
    "replaced_counts",
    "busted_fills",
    "options",
    "multi_leg_orders",
    "bonds",
    "margined_futures",
    "summary_money",
    "splits",
    "market_halts",
    "outages",
    "stalls",
    "bursts",
]
T = TypeVar("T")
#: Each trouble in one line.
TROUBLES: dict[Trouble, str] = {
    "missing_sides": "a side of the market is sent as 0, as null, or not at all, and is back a moment later",
    "stub_quotes": "bid 0.01 and ask 199,999.99, while trades go on at the usual price",
    "crossed_books": "the best bid is above the best ask",
    "halts": "a symbol is halted with an empty book, and opens again by an auction, in which its book is locked",
    "late_prints": "a trade is sent seconds after later ones, with its own time",
    "corrected_prints": "a trade is sent again under its number, with another price (assumed)",
    "cancelled_prints": "a trade that never was is sent, and once more under its number with size 0 (assumed)",
    "times_ahead": "a quote or a trade has a time an hour, a day, or a month ahead",
    "times_in_seconds": "a quote or a trade has its time in Unix seconds instead of milliseconds",
    "delays": "a quote comes 30 to 80 ms after its time, a trade 5 to 30 ms: in another order than they happened",
    "extreme_prices": "two more shares: TINY, at 0.00000873, and CRUDE, at -37.63",
    "extreme_sizes": "trades of 0.375 shares, of 0.00000012, and of 2**60",
    "server_spelling": "aapl and BRK/B are accepted, and answered as AAPL and BRK.B",
    "stream_refusals": "a sixth of the streams of symbols, drawn from the seed, are refused while others go on",
    "hanging_http": "an answer over HTTP hangs, while the streams go on",
    "disordered_events": "a state of an order comes after newer ones; positions and balances come before their order",
    "repeated_events": "an order, a fill, a position or a balance comes twice",
    "replaced_counts": "a replaced order's fills are counted either way: from zero, or going on, drawn by order",
    "busted_fills": "a fill is taken back, position and money are as without it; its order is open again, or ends",
    "options": "Aries: an option is held and traded at 100 times its price (assumed), and unknown as an equity",
    "multi_leg_orders": "Aries: spreads of two options, each one order with legs; it is named by the share",
    "bonds": "ALOR: a bond is held and traded, its price in % of its face value, its accrued interest paid (assumed)",
    "margined_futures": "ALOR: a future quoted in dollars is held, and variation margin is paid in clearings (assumed)",
    "summary_money": "ALOR: an account's money is in its summary, and not among its positions",
    "splits": "a share that is held is split 2 for 1, or back; its orders are cancelled (assumed)",
    "market_halts": "all trading halts, by Aries' market status (its word is assumed) and ALOR's trading statuses",
    "outages": "all connections of streams are cut, and new ones refused, until it is over",
    "stalls": "nothing is delivered until it is over; then all of it comes at once",
    "bursts": "ten times as many messages",
}
assert tuple(TROUBLES) == get_args(Trouble)
#: Those of the connection, which happen to the whole market. "all" is without them.
OF_CONNECTIONS: frozenset[Trouble] = frozenset(("outages", "stalls", "bursts"))
#: Those that happen to the whole market alone, never to one symbol.
OF_MARKET: frozenset[Trouble] = OF_CONNECTIONS | {"market_halts"}
#: Those that can be had at once and at set times, by the name of one of them.
SIMULATED: dict[str, Trouble] = {
    "outage": "outages",
    "delay": "stalls",
    "burst": "bursts",
    "crossed book": "crossed_books",
    "halt": "halts",
    "market halt": "market_halts",
    "missing sides": "missing_sides",
    "stub quotes": "stub_quotes",
    "late prints": "late_prints",
    "corrected prints": "corrected_prints",
    "cancelled prints": "cancelled_prints",
    "times ahead": "times_ahead",
    "times in seconds": "times_in_seconds",
    "extreme sizes": "extreme_sizes",
}

#: A spell of a lasting trouble takes this share of the mean interval between two of them.
SPELL_SHARE = 0.15
#: Share of the streams that are refused.
REFUSED_SHARE = 1 / 6
#: How long quotes and trades are on their way, in ms, and for how many ms a delay stays as it is.
DELAYS_MS = {"quote": (30, 80), "trade": (5, 30)}
DELAY_STAYS_MS = (100, 400)
#: An answer hangs for this share of the mean interval.
HANG_SHARE = 0.75


def read_troubles(given: bool | str | Iterable[str]) -> frozenset[Trouble]:  # noqa: FBT001 - the option of users
    """Return troubles by what a user gives: names, or a text "halts,splits"; False for none.

    True or "all" is for all but those of the connection (outages, stalls, bursts), which are chosen by name.

    Raises UsageError for an unknown name.
    """
    if isinstance(given, bool):
        return frozenset(TROUBLES) - OF_CONNECTIONS if given else frozenset()
    names = given.split(",") if isinstance(given, str) else list(given)
    chosen = {name.strip().replace("-", "_") for name in names if name.strip()}
    unknown = sorted(chosen - {"all", *TROUBLES})
    if unknown:
        advice = f"Use some of: {', '.join(TROUBLES)}; or all."
        raise UsageError(f"unknown trouble {', '.join(unknown)}", where="rough", advice=advice)
    return frozenset(name for name in TROUBLES if name in chosen or ("all" in chosen and name not in OF_CONNECTIONS))


def trouble_named(name: str, symbol: str = "") -> Trouble:
    """Return the trouble of `SIMULATED` that a user names, such as "crossed book", "crossed_books" or "Halt".

    `symbol` is the one that it is to happen to, "" for all. Raises UsageError, with the list, for another name, and for
    a symbol where the trouble happens to the whole market alone.
    """
    said = name.strip().lower().replace("_", " ").replace("-", " ")
    for each, trouble in SIMULATED.items():
        if said in (each, f"{each}s", trouble.replace("_", " ")):
            if symbol and trouble in OF_MARKET:
                of_symbols = ", ".join(other for other, its in SIMULATED.items() if its not in OF_MARKET)
                what = f"{each} happens to the whole market, not to {symbol[:100]} alone"
                raise UsageError(what, advice=f"Leave out the symbol, or use one of: {of_symbols}.")
            return trouble
    raise UsageError(f"unknown trouble {name[:100]}", advice=f"Use one of: {', '.join(SIMULATED)}.")


class Roughness:
    """The chosen troubles of a simulated broker, and the source of their times.

    `seconds` is the mean interval, in s, between two occurrences of one trouble to one subject; the first is within
    half of it after `start` (Unix s), None for the first moment at which it is asked for. Those of `schedule` happen at
    set times, whether they are chosen or not.
    """

    def __init__(self, troubles: frozenset[Trouble], seed: int, seconds: float, start: float | None = None) -> None:
        self.troubles = troubles
        self.schedule = Schedule()
        self.seconds = seconds
        self._seed = seed
        self._start = start
        #: Periods in which no symbol trades.
        self.market_halts = self.spells("market_halts", "market")

    def __contains__(self, trouble: Trouble) -> bool:
        return trouble in self.troubles

    def rng(self, name: str) -> Random:
        """Return a source of random numbers for the subject `name`, drawn from the seed."""
        return Random(f"{self._seed} rough {name}")

    def is_refused(self, subject: str) -> bool:
        """Return whether subscriptions to a stream, such as "level2 AAPL", are refused."""
        return "stream_refusals" in self.troubles and self.rng(f"refusal {subject}").random() < REFUSED_SHARE

    def is_drawn(self, trouble: Trouble, subject: str) -> bool:
        """Return whether a trouble that holds for half of its subjects, by the seed, holds for this one."""
        return trouble in self.troubles and self.rng(f"{trouble} {subject}").random() < 0.5

    def spelled(self, symbol: str) -> str:
        """Return a symbol in the server's spelling; unchanged where the trouble is not chosen."""
        return symbol.upper().replace("/", ".") if "server_spelling" in self.troubles else symbol

    def occurrences(self, trouble: Trouble, subject: str) -> Occurrences:
        """Return the times at which a trouble happens to a subject: set ones alone where the trouble is not chosen."""
        seconds = self.seconds if trouble in self.troubles else 0.0
        planned = self.schedule.of(trouble, subject)
        return Occurrences(self.rng(f"{trouble} {subject}"), seconds, self._start, planned)

    def delays(self, kind: str, symbol: str) -> Delays:
        """Return how late the quotes or trades ("quote", "trade") of a symbol are: not at all unless it is chosen."""
        return Delays(self.rng(f"delays {symbol} {kind}"), DELAYS_MS[kind] if "delays" in self.troubles else (0, 0))

    @property
    def hang_seconds(self) -> float:
        """How long, in s, an answer over HTTP hangs."""
        return self.seconds * HANG_SHARE

    def spells(self, trouble: Trouble, subject: str) -> Spells:
        """Return the periods in which a lasting trouble holds for a subject: set ones alone where it is not chosen."""
        forms, planned = self.rng(f"form of {trouble} {subject}"), self.schedule.of(trouble, subject)
        return Spells(self.occurrences(trouble, subject), self.seconds * SPELL_SHARE, forms, planned)


class Occurrences:
    """Times at which one trouble happens to one subject; `seconds` is their mean distance, 0 for never.

    They are counted from `start` (Unix s), whenever they are asked for: None for the first call. `planned` returns the
    trouble that holds by a schedule at a time; while one does, each call finds it due.
    """

    def __init__(
        self, rng: Random, seconds: float, start: float | None = None, planned: PlannedAt = lambda _: None
    ) -> None:
        self._planned = planned
        self._rng = rng
        self._seconds = seconds
        self._start = start
        self._due: float | None = None

    def is_due(self, now: float) -> bool:
        """Return whether the trouble happens at `now` (Unix s): True once for each occurrence.

        One that is past by more than the mean distance, as nobody asked then, does not count.
        """
        found = self.passed(now)
        return (bool(found) and now - found[-1] <= self._seconds) or self._planned(now) is not None

    def passed(self, now: float) -> list[float]:
        """Return the times (Unix s) of the occurrences since the last call, until `now`."""
        if not self._seconds:
            return []
        if self._due is None:
            start = now if self._start is None else self._start
            self._due = start + self._rng.uniform(0.05, 0.5) * self._seconds
        found = []
        while self._due <= now:
            found.append(self._due)
            self._due += self._rng.uniform(0.5, 1.5) * self._seconds
        return found


class Spells:
    """Periods of `seconds` in which a lasting trouble holds for one subject, in a form drawn by `rng`.

    `planned` returns the trouble that holds by a schedule at a time.
    """

    def __init__(self, starts: Occurrences, seconds: float, rng: Random, planned: PlannedAt = lambda _: None) -> None:
        self._planned = planned
        self._starts = starts
        self._rng = rng
        self._seconds = seconds
        self._start, self._form = -seconds, 0

    def share(self, now: float) -> float | None:
        """Return which share of a spell is over at `now` (Unix s), from 0 to below 1; None outside of spells."""
        for start in self._starts.passed(now):
            self._start, self._form = start, self._rng.randrange(1_000_000)
        if (planned := self._planned(now)) is not None:
            self._form = planned.number
            return (now - planned.start) / planned.seconds
        past = now - self._start
        return past / self._seconds if 0 <= past < self._seconds else None

    def choice(self, forms: Sequence[T]) -> T:
        """Return one of the forms that a trouble has, the same during a spell."""
        return forms[self._form % len(forms)]


class Delays:
    """How long what is sent about one subject is on its way: between `bounds`, in ms, another time after a while.

    What was made later never overtakes what was made before.
    """

    def __init__(self, rng: Random, bounds: tuple[int, int]) -> None:
        self._rng = rng
        self._bounds = bounds
        self._until = self._delay = self._newest = 0

    def made(self, now: int) -> int:
        """Return when that was made which arrives at `now`; both in Unix ms."""
        if now >= self._until:
            self._delay = self._rng.randint(*self._bounds)
            self._until = now + self._rng.randint(*DELAY_STAYS_MS)
        self._newest = max(self._newest, now - self._delay)
        return self._newest
