from __future__ import annotations

import pytest

from aries_nb.sim.alor import prints as alor_prints
from aries_nb.sim.alor.prints import MOST_PRINTS, Prints


def tape(count: int) -> Prints:
    """Trades one second apart, each one lot larger than the one before."""
    prints = Prints("MOEX", "SBER")
    for number in range(1, count + 1):
        prints.add(number * 10**9, 100.0 + number, float(number), ("buy", "sell", "unknown")[number % 3])
    return prints


def test_more_is_kept_than_a_subscription_can_ask_for() -> None:
    prints = tape(2 * MOST_PRINTS)

    every = prints.columns().prints(0, 10**6)

    assert len(every) == 2 * MOST_PRINTS
    assert every[-MOST_PRINTS:] == prints.newest(MOST_PRINTS)
    assert every[-1] == prints.last
    assert [each.side for each in every[:3]] == ["sell", "unknown", "buy"]


def test_numbers_go_on_when_the_oldest_trades_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alor_prints, "RETAINED_PRINTS", 100)
    prints = tape(250)

    numbers = [each.number for each in prints.newest(1_000)]

    assert len(numbers) == 150
    assert numbers == list(range(numbers[0], numbers[0] + 150))
    assert prints.last is not None
    assert (numbers[-1], prints.total) == (prints.last.number, 250)


def test_trades_are_chosen_by_exact_numbers_beyond_what_a_float_holds() -> None:
    prints = tape(50)
    first = prints.newest(1_000)[0].number

    some = prints.columns().filtered({"number": (first + 7, first + 9)}).prints(0, 10)

    assert [each.number - first for each in some] == [7, 8, 9]
    assert first > 2**53


@pytest.mark.parametrize(
    ("bounds", "side", "expected"),
    [
        ({"ts_ns": (3 * 10**9, 5 * 10**9)}, None, [3, 4, 5]),
        ({"size": (None, 2.0)}, None, [1, 2]),
        ({"price": (109.0, None)}, None, [9, 10]),
        ({}, "buy", [3, 6, 9]),
        ({}, "none of these", []),
    ],
)
def test_trades_are_chosen_by_what_they_are(
    bounds: dict[str, tuple[float | None, ...]], side: str | None, expected: list[int]
) -> None:
    chosen = tape(10).columns().filtered(bounds, side)

    assert [each.size for each in chosen.prints(0, 100)] == expected


def test_pages_run_from_either_end() -> None:
    every = tape(10).columns()

    assert [each.size for each in every.prints(2, 3)] == [3, 4, 5]
    assert [each.size for each in every.prints(2, 3, is_newest_first=True)] == [8, 7, 6]
