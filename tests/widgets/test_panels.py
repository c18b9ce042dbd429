import gc
import json
import time
import weakref
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from aries_nb.errors import UsageError
from aries_nb.model import PlaybackMark
from aries_nb.widgets import Board, Card, DepthChart, Ladder, PlaybackBar
from aries_nb.widgets.number_format import Decimals
from aries_nb.widgets.panels.card import shown_url
from aries_nb.widgets.static_html import WIDGET_MIME
from tests.widgets.sources import Boards, Books, Cards, Playbacks

EVIL = "<script>alert(1)</script>"


def frame_of(view):
    return np.frombuffer(view.widget.frame, dtype="<f8")


@pytest.fixture
def board():
    source = Boards(symbols=("AAPL", EVIL), rejected={"NOPE<b>": "unknown symbol"})
    source.put(0, 100.5, 500, 100.75, 700, 100.5)
    board = Board(source, title="Quotes <i>")
    board.widget.open()
    yield board
    board.close()


def test_a_frame_is_one_message_with_its_number_first(board):
    board.draw()
    board._board_source.put(0, 100.5, 600, 100.75, 700, 100.5)

    board.draw()

    sent = board.widget.comm.sent
    assert len(sent) == 2
    assert sent[1]["buffer_paths"] == [["frame"]]
    assert frame_of(board)[0] == 2
    assert [row[0] for row in sent[1]["state"]["rows"]["put"]] == ['["AAPL"]']


def test_a_board_shows_prices_inside_sizes_outside_and_the_spread(board):
    board.draw()

    names = [column["name"] for column in board.widget.description["columns"]]
    assert names == ["bid_size", "bid_price", "ask_price", "ask_size", "spread", "last_price"]
    (first, *others) = board.widget.rows["put"]
    assert first[2] == ["AAPL", "500", "100.50", "100.75", "700", "0.25", "100.50", ""]
    assert first[3] == [None, 500, 100.5, 100.75, 700, 0.25, 100.5, 1.7e12]
    assert [row[2][0] for row in others] == [EVIL, "NOPE<b>"]


def test_a_page_that_asks_for_the_state_gets_all_that_changed_since_the_opening(board):
    board.draw()
    board.freeze()

    board.widget.comm.answer({"method": "custom", "content": {"want": "state"}})

    state = board.widget.comm.sent[-1]["state"]
    assert state.keys() >= {"description", "problem", "rows", "timezone", "frozen"}
    assert state["frozen"]["at"] == state["frozen"]["said"]


def test_nothing_new_sends_nothing(board):
    board.draw()

    assert board.draw() == 0
    assert len(board.widget.comm.sent) == 1


def test_the_description_is_plain_json(board):
    board.draw()

    assert json.loads(json.dumps(board.widget.description))["rejected"] == {"NOPE<b>": "unknown symbol"}


def test_a_board_without_columns_or_symbols_can_be_drawn():
    source = Boards(symbols=())
    board = Board(source)
    board.widget.open()

    board.draw()

    assert board.error is None
    board.close()


def test_texts_from_outside_are_escaped_in_the_static_picture(board):
    text = board._repr_mimebundle_()["text/html"]

    assert EVIL not in text
    assert "&lt;script&gt;" in text
    assert "<b>" not in text
    assert "<i>" not in text


@pytest.mark.parametrize(
    "make",
    [
        lambda: Board(Boards(symbols=(EVIL,))),
        lambda: Card(Cards(error=EVIL, name=EVIL)),
        lambda: Ladder(_evil_book()),
        lambda: DepthChart(_evil_book()),
        lambda: PlaybackBar(_evil_playback()),
    ],
)
def test_no_static_picture_holds_markup_from_outside(make, painter):
    view = make()

    data = view._repr_mimebundle_()

    assert EVIL not in data["text/html"]
    assert data.keys() == {"text/plain", "text/html", WIDGET_MIME}
    view.close()


def _evil_book():
    book = Books()
    book.symbol = EVIL
    return book


def _evil_playback():
    playbacks = Playbacks((PlaybackMark("note", Playbacks.FIRST, Playbacks.FIRST, EVIL),))
    playbacks.put(problem=EVIL)
    return playbacks


def test_media_types_can_be_chosen(board):
    assert board._repr_mimebundle_(include={"text/plain"}).keys() == {"text/plain"}
    assert WIDGET_MIME not in board._repr_mimebundle_(exclude={WIDGET_MIME})


def test_a_view_displayed_many_times_keeps_one_model(board):
    models = {board._repr_mimebundle_()[WIDGET_MIME]["model_id"] for _ in range(5)}

    assert models == {board.widget.model_id}


def test_a_widget_shown_without_its_view_is_the_same_display(board):
    assert board.widget._repr_mimebundle_() == board._repr_mimebundle_()


def test_a_closed_view_still_has_its_static_picture(board):
    board.close()

    assert board._repr_mimebundle_().keys() == {"text/plain", "text/html"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Board(Boards()),
        lambda: Ladder(Books()),
        lambda: Card(Cards()),
        lambda: PlaybackBar(Playbacks()),
    ],
)
def test_a_closed_panel_is_freed(make, painter):
    view = make()
    view.watch(painter)  # one without a thread, which might be holding the view at this very moment
    view._repr_mimebundle_()
    widget, panel = weakref.ref(view.widget), weakref.ref(view)

    view.close()
    view.close()
    del view
    gc.collect()

    assert widget() is None
    assert panel() is None


def test_a_panel_keeps_its_stub_as_text(board):
    assert board.widget._esm == board.widget.page_script.stub


def test_decimals_only_grow():
    decimals = Decimals(is_price=True)

    shown = [decimals.of(np.array([value])) for value in (100.0, 100.125, 100.5, np.nan)]

    assert shown == [2, 3, 3, 3]


def test_whole_prices_of_futures_need_no_decimals():
    assert Decimals(is_price=True).of(np.array([102350.0, 102355.0])) == 0


def test_a_computed_price_shows_no_float_noise():
    assert Decimals(is_price=True).of(np.array([0.1 + 0.2, 61250.1 + 0.2])) == 2


def test_a_ladder_packs_bids_then_asks():
    ladder = Ladder(Books(), depth=2)

    ladder.draw()

    assert frame_of(ladder)[2:4].tolist() == [2, 2]
    assert frame_of(ladder)[10:].tolist() == [99, 5, 98.5, 10, 100, 7, 100.5, 3]
    ladder.close()


@pytest.mark.parametrize(("integrity", "word"), [("crossed", "crossed"), ("stale", "stale"), ("gap", "stream broke")])
def test_a_book_that_cannot_be_trusted_says_why(integrity, word):
    book = Books()
    book.integrity = integrity
    ladder = Ladder(book)

    ladder.draw()

    assert word in ladder.widget.description["reason"]
    assert word in ladder._repr_mimebundle_(include={"text/html"})["text/html"]
    ladder.close()


@pytest.mark.parametrize(
    ("bid", "ask", "integrity", "expected"),
    [
        (99.0, 100.0, "ok", (False, 1.0, 99.5)),
        (99.0, 99.0, "locked", (False, 0.0, 99.0)),
        (100.0, 99.5, "crossed", (True, -0.5, np.nan)),
        (0.01, 199_999.99, "ok", (False, np.nan, np.nan)),
        (None, 100.0, "ok", (False, np.nan, np.nan)),
    ],
)
def test_a_ladder_and_a_depth_chart_have_a_middle_only_of_two_believable_sides(bid, ask, integrity, expected):
    book = Books()
    book.bids, book.asks = np.array([[bid, 5.0]] if bid else np.empty((0, 2))), np.array([[ask, 5.0]])
    book.integrity = integrity
    ladder, depth = Ladder(book), DepthChart(book)

    ladder.draw()
    depth.draw()

    assert ladder.widget.description["is_doubtful"] == expected[0]
    np.testing.assert_equal(frame_of(ladder)[5:7], expected[1:])
    assert list(depth.figure.data[2].x) == ([] if np.isnan(expected[2]) else [expected[2]] * 2)
    ladder.close()
    depth.close()


def test_a_board_has_no_spread_of_a_side_that_is_not_there():
    source = Boards()
    source.put(0, 99.0, 1.0, 0.0, 0.0, 100.0)
    source.put(1, 0.01, 1.0, 199_999.99, 1.0, 100.0)
    board = Board(source)

    board.draw()

    spread = [column["name"] for column in board.widget.description["columns"]].index("spread") + 1
    assert [row[2][spread] for row in board.widget.rows["put"]] == ["–", "–"]
    board.close()


def test_an_empty_book_can_be_drawn():
    book = Books()
    book.bids = book.asks = np.empty((0, 2))
    book.integrity = "empty"
    ladder, depth = Ladder(book), DepthChart(book)

    ladder.draw()
    depth.draw()

    assert ladder.error is None
    assert depth.error is None
    assert depth.figure.layout.annotations[0].text == ladder.widget.description["reason"] == "empty: no bid and no ask"
    ladder.close()
    depth.close()


@pytest.mark.parametrize("view", [Ladder, DepthChart])
def test_a_depth_of_nothing_is_refused(view):
    with pytest.raises(UsageError, match="levels"):
        view(Books(), depth=0)


def test_a_depth_chart_sums_outwards_from_the_best_price():
    chart = DepthChart(Books())

    messages = chart.draw()

    bids, asks, middle = chart.figure.data
    assert messages == 1
    assert bids.x.tolist() == [98.5, 99.0, 99.0]
    assert bids.y.tolist() == [15.0, 5.0, 0.0]
    assert asks.y.tolist() == [0.0, 7.0, 10.0]
    assert middle.x.tolist() == [99.5, 99.5]
    chart.close()


def test_a_card_never_shows_what_an_address_may_hide():
    card = Card(Cards())

    card.draw()

    text = json.dumps(card.widget.description) + card._repr_mimebundle_()["text/html"]
    assert "wss://example.org:8443/ws" in text
    for secret in ("secret", "token", "me:", "frag"):
        assert secret not in text
    card.close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [("ws://[::1]:80/x?y", "ws://[::1]:80/x"), ("ws://h:bad/", ""), ("", ""), ("ws://h", "ws://h")],
)
def test_odd_addresses_are_shown_or_left_out(url, shown):
    assert shown_url(url) == shown


def test_a_card_is_drawn_twice_a_second_at_most(painter, clock):
    source = Cards()
    card = Card(source)
    card.widget.open()
    card.watch(painter)

    for step in range(100):
        source.changes["messages"] = step
        source.version += 1
        painter.step()
        card.widget.comm.acknowledge(card.frames)
        clock.now += 0.02

    assert card.frames == 4
    card.close()


def test_a_card_shows_the_latency_to_receipt_and_to_pixels():
    card = Card(Cards(lag_ms=12.34, lag_p99_ms=48.0, painted_p50_ms=80.0, painted_p99_ms=140.0))

    card.draw()

    frame = np.frombuffer(card.widget.frame)
    picture = card._repr_mimebundle_()["text/html"]
    assert frame[-4:].tolist() == [12.3, 48.0, 80.0, 140.0]
    assert "12 / 48 ms" in picture
    assert "80 / 140 ms" in picture
    card.close()


@pytest.mark.parametrize(
    ("limits", "shown"),
    [
        ({}, ""),
        ({"connections": 2, "most_connections": 10}, "2 of 10 connections"),
        (
            {"connections": 10, "most_connections": 10, "most_streams": 50_000},
            "10 of 10 connections · 2 of 50,000 streams",
        ),
    ],
)
def test_a_card_says_what_is_in_use_of_what_the_broker_allows(limits, shown):
    card = Card(Cards(**limits))

    card.draw()

    description = card.widget.description
    assert (description["limits"], description["is_full"]) == (shown, shown.startswith("10 of 10"))
    assert (shown or "In use") in card._repr_mimebundle_()["text/html"] or not shown
    card.close()


def test_a_lag_that_is_not_known_is_a_missing_number_and_costs_no_frame():
    source = Cards(silence_s=0.0)
    card = Card(source)
    card.widget.open()
    card.draw()
    source.changes["lag_ms"] = float("nan")  # another one

    messages = card.draw()

    assert messages == 0
    assert np.isnan(np.frombuffer(card.widget.frame)[-4:]).all()
    assert "unknown" in card._repr_mimebundle_()["text/html"]
    card.close()


def test_a_stale_row_is_marked_among_the_others_of_the_board():
    class Late(Boards):
        def board(self):
            return replace(super().board(), stale=("MSFT",))

    source = Late()
    source.put(0, 1.0, 1.0, 1.0, 1.0, 1.0)
    source.put(1, 2.0, 2.0, 2.0, 2.0, 2.0)
    board = Board(source)
    board.widget.open()

    board.draw()

    assert board.widget.description["stale"] == ["MSFT"]
    assert board._picture().count("stale") == 1
    board.close()


@pytest.mark.parametrize(("silent", "rows"), [(0, 0), (3, 1)])
def test_the_card_shows_how_many_streams_are_silent(silent, rows):
    card = Card(Cards(silent=silent))

    card.draw()

    assert card.widget.description["silent"] == silent
    assert card._picture().count("Silent streams") == rows
    card.close()


def test_a_view_is_frozen_and_resumed_by_one_message_with_the_instant():
    board = Board(Boards())
    before = time.time() * 1e3
    at = datetime(2026, 11, 29, 12, tzinfo=UTC)

    board.freeze()
    now = dict(board.widget.frozen)
    board.freeze(at)
    then = dict(board.widget.frozen)
    board.resume()

    assert before <= now["at"] == now["said"] <= time.time() * 1e3
    assert then["at"] == at.timestamp() * 1e3
    assert "at" not in board.widget.frozen
    board.close()


@pytest.mark.parametrize("at", [datetime(2026, 11, 29, 12), pd.NaT, 1_764_417_600, "12:00"])
def test_a_time_without_a_zone_freezes_nothing(at):
    board = Board(Boards())

    with pytest.raises(UsageError, match="is no time with a time zone"):
        board.freeze(at)

    assert board.widget.frozen == {}
    board.close()


class ReplayedBoards(Boards):
    """A board of a replay; tests move its clock."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = self
        self.pace: float | None = 0.0
        self.now = 1_700_000_005_000_000_000

    def now_ns(self) -> int:
        return self.now


def test_a_view_of_a_replay_is_frozen_by_its_time():
    source = ReplayedBoards()
    board = Board(source)

    board.freeze()
    frozen = dict(board.widget.frozen)
    source.now += 10**9
    board.resume()

    assert frozen == {"at": 1_700_000_005_000.0, "said": 1_700_000_005_000.0}
    assert board.widget.frozen == {"said": 1_700_000_006_000.0}
    board.close()


def test_ages_in_a_replay_count_by_its_time():
    source = ReplayedBoards()
    source.put(0, 1, 2, 3, 4, 5)
    board = Board(source)
    board.draw()
    shown = frame_of(board)[1], board.widget.pace
    is_still = board.draw() == 0

    source.now += 60 * 10**9  # a seek in which the symbols have no row
    board.draw()
    later = frame_of(board)[1]
    source.pace = 10.0
    board.draw()

    assert shown == (1_700_000_005_000.0, 0.0)
    assert is_still
    assert later == 1_700_000_065_000.0
    assert board.widget.pace == 10.0
    source.now += 10**8  # the page has come there by itself
    assert board.draw() == 0
    board.close()


def test_ages_of_a_live_market_count_by_the_kernels_clock():
    source = ReplayedBoards()
    source.pace = None
    board = Board(source)
    board.draw()

    assert board.widget.pace is None
    assert abs(frame_of(board)[1] - time.time() * 1e3) < 60_000
    assert board.draw() == 0
    board.close()
