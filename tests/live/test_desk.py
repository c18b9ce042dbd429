"""`feed.desk()`: what its views show, how it is changed, saved and opened again, on both brokers."""

from __future__ import annotations

import gc
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

import aries_nb as anb
from tests.net.patience import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aries_nb.live import Feed
    from aries_nb.live.screen.desk import Desk

ARIES, ALOR = ("AAPL", "MSFT", "NVDA"), ("SBER", "GAZP", "LKOH")


@pytest.fixture(scope="module", params=[("sim", ARIES), ("sim-alor", ALOR)], ids=["aries", "alor"])
def market(request: pytest.FixtureRequest) -> Iterator[tuple[Feed, tuple[str, ...]]]:
    name, symbols = request.param
    with anb.connect(name, rate=400, seed=7) as feed:
        yield feed, symbols


@pytest.fixture
def desk(market: tuple[Feed, tuple[str, ...]]) -> Iterator[Desk]:
    feed, symbols = market
    made = feed.desk(*symbols)
    yield made
    made.close()


def titles(desk: Desk) -> dict[str, str]:
    """What each view shows, as its static text."""
    return {place: " ".join(view._static_html() for view in views) for place, views in desk.views.items()}


def choose(desk: Desk, what: str, value: object) -> None:
    """Ask for something as a page does, and wait until it is done."""
    number = time.monotonic()
    desk._box.bar._on_message(None, {"desk": [what, value, number]}, [])
    eventually(lambda: desk._box.bar._handled >= number)


def note_of(desk: Desk) -> str:
    return desk._requests.desk().note


def told_of(desk: Desk, place: str) -> str:
    """What the badge of a view says, as its page is told, "" for one that shows what is new."""
    view = desk.views[place][0]
    view.draw()
    return str(view.widget.frozen.get("text", ""))  # type: ignore[attr-defined]


def test_all_views_show_the_first_symbol_and_the_board_all(desk: Desk, market: Any) -> None:
    _, symbols = market

    shown = titles(desk)

    assert list(shown) == ["chart", "ladder", "tape", "side", "foot"]
    for place in ("chart", "ladder", "tape"):
        assert symbols[0] in shown[place]
        assert symbols[1] not in shown[place]
    assert all(symbol in shown["side"] for symbol in symbols)


def test_a_symbol_that_is_clicked_on_moves_all_views(desk: Desk, market: Any) -> None:
    _, symbols = market
    before = dict(desk.views)

    before["side"][0]._on_message(None, {"pick": symbols[1]}, [])  # type: ignore[arg-type]
    eventually(lambda: desk.symbol == symbols[1])

    shown = titles(desk)
    assert all(symbols[1] in shown[place] for place in ("chart", "ladder", "tape"))
    # The board stays the one that it was; the others are closed.
    assert desk.views["side"] == before["side"]
    assert [view.is_closed for place in ("chart", "ladder", "tape") for view in before[place]] == [True] * 3
    eventually(lambda: desk.views["side"][0].draw() or desk.views["side"][0].widget.description["picked"] == symbols[1])  # type: ignore[attr-defined]


def test_bar_changes_window_interval_depth_and_side(desk: Desk) -> None:
    for what, value in (("window", "5min"), ("interval", "1s"), ("depth", "5"), ("side", "account")):
        choose(desk, what, value)

    layout = desk.layout
    assert (layout.window, layout.interval, layout.depth, layout.side) == ("5min", "1s", 5, "account")
    assert note_of(desk) == ""
    assert len(desk.views["side"]) == 2  # balances and positions


@pytest.mark.parametrize(
    ("what", "value", "said"),
    [
        ("symbol", "<b>NOPE", "<B>NOPE"),
        ("window", "soon", "no span of time"),
        ("interval", "-1s", "is no positive span"),
        ("depth", "0", "depth="),
        ("depth", "١٠٠٠٠٠٠", "depth="),
        ("side", "news", "Use one of: board, account"),
    ],
)
def test_what_cannot_be_shown_is_said_and_changes_nothing(desk: Desk, what: str, value: str, said: str) -> None:
    before, views = desk.layout, dict(desk.views)

    choose(desk, what, value)

    assert said in note_of(desk)
    assert (desk.layout, dict(desk.views)) == (before, views)
    choose(desk, "symbol", before.symbols[1].lower())
    assert (desk.symbol, note_of(desk)) == (before.symbols[1], "")


@pytest.mark.parametrize(
    "content",
    [
        {"desk": "x"}, {"desk": ["symbol"]}, {"desk": ["close", "", 1]}, {"desk": ["symbol", 5, 1]},
        {"desk": ["symbol", "x" * 101, 1]}, {"desk": ["symbol", "MSFT", float("nan")]}, {"pick": 5}, None, [],
    ],
)  # fmt: skip
def test_malformed_message_of_a_page_is_ignored(desk: Desk, content: Any) -> None:
    before = desk._requests.version

    for view in (desk._box.bar, desk.views["side"][0]):
        view._on_message(None, content, [])  # type: ignore[attr-defined]

    assert desk._requests.version == before


def test_timeline_at_the_foot_moves_all_views(desk: Desk, market: Any) -> None:
    feed, _ = market
    sources: list[Any] = [desk.views[place][0]._source for place in ("chart", "ladder", "tape", "side")]
    assert [each.standing for each in sources] == [None] * 4

    desk.views["foot"][0]._on_message(None, {"move": ["pause", 0, 1.0]}, [])  # type: ignore[attr-defined]
    moments = {each.standing.at for each in sources}
    told = [told_of(desk, place) for place in ("chart", "ladder", "tape", "side")]
    desk.views["chart"][0]._on_report({"resume": True})

    assert len(moments) == 1
    assert [text[:10] for text in told] == ["frozen at "] * 4
    assert len({text.split(",")[0] for text in told}) == 1
    assert [told_of(desk, place) for place in ("chart", "ladder", "tape", "side")] == [""] * 4
    assert feed.timeline().is_live
    assert [each.standing for each in sources] == [None] * 4


def test_search_finds_by_symbol_and_by_the_brokers_answer(desk: Desk, market: Any) -> None:
    _, symbols = market

    choose(desk, "search", symbols[2][:3].lower())

    data = desk._requests.desk()
    assert data.searched == symbols[2][:3].lower()
    assert symbols[2] in [symbol for symbol, _ in data.found]
    assert any(name for _, name in data.found)
    assert data.note == ""


def test_a_desk_is_saved_as_data_and_opened_as_it_was(desk: Desk, market: Any, tmp_path: Path) -> None:
    feed, symbols = market
    desk.show(symbols[1], window="5min", depth=5, interval="15s")

    desk.save(tmp_path / "desk.json")
    again = anb.desk(tmp_path / "desk.json", feed)

    assert again.layout == desk.layout
    assert list(tmp_path.iterdir()) == [tmp_path / "desk.json"]
    again.close()
    (tmp_path / "desk.json").unlink()
    (tmp_path / "folder").mkdir()
    for wrong in ("", None, 5, "a\0b", tmp_path / "folder", tmp_path / "none" / "desk.json"):
        with pytest.raises(anb.UsageError, match=r'file|folder.*such as "desk\.json"'):
            desk.save(wrong)
        with pytest.raises(anb.UsageError, match=r"file"):
            anb.desk(wrong, feed)  # type: ignore[arg-type]
    assert [*tmp_path.rglob("*")] == [tmp_path / "folder"]


def test_part_of_a_file_that_cannot_be_written_is_removed(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    desk.save(tmp_path / "desk.json")
    before = (tmp_path / "desk.json").read_bytes()
    monkeypatch.setattr("os.replace", full)

    with pytest.raises(OSError, match="No space left"):
        desk.save(tmp_path / "desk.json")

    assert list(tmp_path.iterdir()) == [tmp_path / "desk.json"]
    assert (tmp_path / "desk.json").read_bytes() == before


SAVED: dict[str, Any] = {
    "aries_nb": "desk", "version": 1, "symbol": "AAPL", "symbols": ["AAPL"], "window": "15min", "interval": "5s",
    "depth": 10, "side": "board", "account": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"aries_nb": "else"}, "no saved desk"),
        ({"version": 2}, "another version"),
        ({"symbol": ["AAPL"]}, "symbol is missing or wrong"),
        ({"symbols": "AAPL"}, "symbols is missing or wrong"),
        ({"symbols": [5]}, "symbol"),
        ({"depth": True}, "depth is missing or wrong"),
        ({"depth": 10**9}, "depth="),
        ({"window": "<script>"}, "no span of time"),
        ({"side": "<img src=x>"}, "Use one of: board, account"),
        ({"account": None}, "account is missing or wrong"),
        ({"code": "import os"}, "unknown in a saved desk: code"),
    ],
)
def test_a_saved_desk_is_checked(market: Any, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    feed, _ = market
    path = tmp_path / "desk.json"
    path.write_text(json.dumps({**SAVED, **change}))

    with pytest.raises(anb.UsageError, match=said):
        anb.desk(path, feed)


@pytest.mark.parametrize("text", ["", "[]", "{", "5", "[" * 50_000, " " * 200_000])
def test_a_file_that_is_no_desk_is_refused(market: Any, tmp_path: Path, text: str) -> None:
    feed, _ = market
    path = tmp_path / "desk.json"
    path.write_text(text)

    with pytest.raises(anb.UsageError, match="no saved desk"):
        anb.desk(path, feed)
    with pytest.raises(anb.UsageError, match=r"this file does not exist.*desk\.save"):
        anb.desk(tmp_path / "none.json", feed)


@pytest.mark.parametrize("feed", [None, "sim"])
def test_a_desk_is_opened_over_a_feed_alone(tmp_path: Path, feed: Any) -> None:
    with pytest.raises(anb.UsageError, match=rf"{feed!r} is no feed .*Pass what `anb\.connect` returned"):
        anb.desk(tmp_path / "any.json", feed)


def test_a_cell_that_runs_again_has_the_same_desk(desk: Desk, market: Any) -> None:
    feed, symbols = market

    assert feed.desk(*symbols) is desk
    desk.close()
    again = feed.desk(*symbols)
    assert again is not desk
    assert "closed" in repr(desk)
    with pytest.raises(anb.ClosedError, match="the desk is closed"):
        desk.show(symbols[1])
    again.close()


def test_closing_leaves_frames_that_the_user_has(market: Any) -> None:
    feed, symbols = market
    mine = feed.trades(symbols[0], window="15min")
    made = feed.desk(*symbols)
    streams = len(feed.streams.df)

    made.close()

    assert mine.is_open
    eventually(lambda: gc.collect() >= 0 and len(feed.streams.df) < streams)


@pytest.mark.parametrize("kind", ["desk", "chart", "light chart", "board", "tape", "ladder"])
def test_streams_of_closed_views_end_without_the_collector(market: Any, kind: str) -> None:
    feed, symbols = market
    gc.collect()
    before = len(feed.streams)
    makes: dict[str, Any] = {
        "desk": lambda: feed.desk(symbols[0]),
        "chart": lambda: feed.quotes(symbols[1], window="7min").chart(engine="plotly"),
        "light chart": lambda: feed.quotes(symbols[1], window="7min").chart(engine="light"),
        "board": lambda: feed.quotes(symbols[1], window="7min")._first_view(),
        "tape": lambda: feed.trades(symbols[1], window="7min")._first_view(),
        "ladder": lambda: feed.book(symbols[1], depth=7)._first_view(),
    }
    gc.disable()
    try:
        shown = makes[kind]()
        opened = len(feed.streams)
        if kind == "desk":
            for symbol in symbols * 2:
                shown.show(symbol)
            assert len(feed.streams) <= opened + 1  # a frame of all symbols on the board in place of one
        shown._repr_mimebundle_()
        shown.close()
        del shown

        assert opened > before
        eventually(lambda: len(feed.streams) == before)
    finally:
        gc.enable()


def test_a_desk_without_symbols_shows_what_is_there() -> None:
    with anb.connect("sim-alor", rate=100) as feed:
        found = feed.desk()
        assert found.symbol in found.layout.symbols
        found.close()
        gc.collect()
        trades = feed.trades("LKOH")
        assert feed.desk(side="board").symbol == "LKOH"
        assert trades.is_open
    assert feed.desk is not None
