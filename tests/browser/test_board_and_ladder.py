"""Board and ladder in a real browser, without a notebook: their scripts on a model that the test writes to."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from playwright.sync_api import expect

from aries_nb.model import BookMarks, RestingOrder
from aries_nb.widgets import Board, Ladder
from aries_nb.widgets.panels.chain import Chain
from tests.widgets.panels.test_chain import Chains
from tests.widgets.sources import Boards, Books

# What a front end gives to a widget's script: a model with traits, and a place to render into.
PAGE = """
<body style="margin:0"><div id="place" style="width:366px"></div><script>
const unpacked = (state) => {
  const { frame, ...others } = state;
  return { ...others, frame: new Uint8Array(new Float64Array(frame).buffer) };
};
window.start = async (script, style, state) => {
  document.head.appendChild(document.createElement("style")).textContent = style;
  const listeners = {};
  const traits = unpacked(state);
  const model = {
    get: (name) => traits[name],
    set: (name, value) => (traits[name] = value),
    on: (name, call) => (listeners[name] ??= []).push(call),
    off: () => {},
    send: () => {},
  };
  window.update = (next) => {
    const changed = unpacked(next);
    for (const name in changed) traits[name] = changed[name];
    for (const name in changed) (listeners[`change:${name}`] || []).forEach((call) => call());
    return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  };
  const { default: make } = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  const view = await make();
  await view.initialize({ model });
  view.render({ model, el: document.getElementById("place") });
  await window.update(state);
};
</script></body>"""
ROWS = """() => [...document.querySelectorAll('tbody tr:not(.anb-none)')]
  .map((row) => [...row.cells].map((cell) => cell.textContent))"""
PRICES = "() => [...document.querySelectorAll('.anb-rows .anb-row')].map((row) => row.children[2].textContent)"
LEVELS = """() => [...document.querySelectorAll('.anb-rows .anb-row')]
  .map((row) => [...row.children].map((cell) => cell.textContent))"""
FLASHING = "() => [...document.querySelectorAll('[data-flash]')].map((node) => [node.textContent, node.dataset.flash])"


def state_of(view):
    view.draw()
    assert view.error is None
    widget = view.widget
    frame = np.frombuffer(widget.frame, dtype="<f8").tolist()
    return {"description": widget.description, "rows": widget.rows, "problem": "", "frame": frame}


@pytest.fixture(scope="module")
def window(browser):
    page = browser.new_page(viewport={"width": 800, "height": 900})
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    page.close()


@pytest.fixture
def page(window):
    window.goto("about:blank")  # another document, without scripts and listeners of earlier ones
    window.set_content(PAGE)
    yield window
    assert not window.errors


def start(page, view):
    script = view.widget.page_script
    page.evaluate("(all) => window.start(...all)", [script.whole, script.style, state_of(view)])


def update(page, view):
    page.evaluate("(state) => window.update(state)", state_of(view))


@pytest.fixture
def prices():
    return Boards(symbols=("AAPL", "MSFT", "AAPL261218C00250000"))


def test_a_filter_of_several_words_finds_each_and_says_when_it_finds_nothing(page, prices):
    with closing(Board(prices)) as board:
        start(page, board)
        box = page.get_by_label("Filter symbols")

        box.fill("msft, c0025")
        several = [row[0] for row in page.evaluate(ROWS)]
        box.fill("nope")

        assert several == ["MSFT", "AAPL261218C00250000"]
        assert page.evaluate(ROWS) == []
        assert page.locator(".anb-empty").text_content() == "Nothing matches “nope”."


def test_a_large_size_beside_fractions_is_written_in_full_without_decimals(page):
    prices = Boards(symbols=("COIN",))
    prices.put(0, 1e-8, 0.375, 2e-8, 2.0**60, 1e-8)
    with closing(Board(prices)) as board:
        start(page, board)

        (shown,) = page.evaluate(ROWS)

        assert shown[1:5] == ["0.375", "0.00000001", "0.00000002", "1,152,921,504,606,846,976"]


def test_a_symbol_is_never_cut_and_stays_in_sight(page, prices):
    with closing(Board(prices)) as board:
        start(page, board)
        page.locator(".anb-scroll").evaluate("(node) => (node.scrollLeft = 200)")

        cut = page.locator("tbody th").evaluate_all("all => all.filter((th) => th.scrollWidth > th.clientWidth).length")
        left = page.locator("tbody th").last.bounding_box()["x"]
        hinted = page.locator(".anb-has-right").count()

        assert (cut, hinted) == (0, 1)
        assert 0 <= left < 3


def test_a_narrow_chain_shows_that_there_is_more_and_names_both_sides(page):
    with closing(Chain(Chains())) as chain:
        start(page, chain)
        update(page, chain)
        page.locator(".anb-scroll").evaluate("(node) => (node.scrollLeft = 150)")

        expect(page.locator(".anb-has-right.anb-has-left")).to_have_count(1)
        seen = page.locator(".anb-scroll").bounding_box()
        for side in page.locator(".anb-sides span").all():
            box = side.bounding_box()
            assert seen["x"] <= box["x"]
            assert box["x"] + box["width"] <= seen["x"] + seen["width"]


def test_only_the_digits_that_changed_flash_and_not_those_of_a_restless_cell(page, prices):
    page.evaluate("() => (performance.now = () => 1000)")  # a flash is over after 400 ms, and a cell at rest after 500
    with closing(Board(prices)) as board:
        prices.put(0, 267.94, 100, 267.95, 100, 267.94)
        start(page, board)

        prices.put(0, 267.94, 300, 267.95, 100, 267.96)
        update(page, board)
        first = page.evaluate(FLASHING)
        prices.put(0, 267.94, 300, 267.95, 100, 267.91)
        update(page, board)

        assert first == [["6", "up"]]
        assert page.evaluate(FLASHING) == []
        assert page.evaluate(ROWS)[0][6] == "▼267.91"


WASHES = """() => [...document.querySelectorAll("[data-flash]")].map((node) => {
  const { backgroundColor, backgroundImage, textDecorationLine } = getComputedStyle(node);
  return [backgroundColor, backgroundImage, textDecorationLine].join();
})"""
STILL = "rgba(0, 0, 0, 0),none,none"


@pytest.mark.parametrize("view", [lambda: Board(Boards(symbols=("AAPL", "MSFT"))), lambda: Ladder(Books())])
def test_nothing_flashes_with_reduced_motion(page, view):
    with closing(view()) as shown:
        start(page, shown)
        page.evaluate("""() => document.querySelectorAll("td, .anb-cell, .anb-digits").forEach(
          (node, place) => (node.dataset.flash = ["up", "down", "note"][place % 3]))""")
        moving = page.evaluate(WASHES)
        page.emulate_media(reduced_motion="reduce")
        calm = page.evaluate(WASHES)
        page.emulate_media(reduced_motion="no-preference")

        assert len(moving) > 8
        assert STILL not in moving
        assert set(calm) == {STILL}


def test_a_board_of_five_hundred_symbols_has_elements_for_those_in_sight(page):
    source = Boards(symbols=tuple(f"S{number}" for number in range(500)))
    with closing(Board(source)) as board:
        start(page, board)

        first = page.evaluate(ROWS)
        page.locator(".anb-scroll").evaluate("(node) => { node.scrollTop = 1e6; }")
        page.wait_for_function("() => document.querySelector('tbody tr:last-child th').textContent === 'S499'")

        assert first[0][0] == "S0"
        assert len(first) < 40
        assert len(page.evaluate(ROWS)) < 40


def test_a_frozen_board_keeps_its_figures_and_counts_what_it_misses(page, prices):
    with closing(Board(prices)) as board:
        prices.put(0, 1.0, 1, 2.0, 1, 1.5)
        start(page, board)

        page.get_by_text("Freeze").click()
        prices.put(0, 1.0, 1, 2.0, 1, 1.75)
        update(page, board)
        frozen = page.evaluate(ROWS)[0][6]
        badge = page.locator(".anb-badge").text_content()
        page.get_by_text("Resume").click()

        assert frozen == "1.50"
        assert badge.startswith("frozen at ")
        assert badge.endswith(" UTC, 1 frame behind")
        assert page.evaluate(ROWS)[0][6].endswith("1.75")


class Marked(Books):
    def __init__(self):
        super().__init__()
        self.bids = np.array([[99.98, 5.0], [99.95, 10.0]])
        self.asks = np.array([[100.0, 7.0], [100.03, 3.0], [100.06, 1.0], [110.0, 2.0]])

    def marks(self):
        return BookMarks(99.99, 4.0, (RestingOrder("sell", 100.02, 2.0),), "halted")


def test_a_ladder_has_a_row_for_each_step_around_the_spread(page):
    with closing(Ladder(Marked(), depth=4)) as ladder:
        start(page, ladder)

        assert page.evaluate(LEVELS) == [
            ["", "", "100.03", "3", "10"],
            ["", "", "100.02", "2", ""],
            ["", "", "100.01", "", ""],
            ["", "", "100.00", "7", "7"],
            ["", "", "99.99", "", ""],
            ["5", "5", "99.98", "", ""],
            ["", "", "99.97", "", ""],
            ["", "", "99.96", "", ""],
            ["15", "10", "99.95", "", ""],
        ]
        assert page.locator(".anb-own:not(:empty)").get_attribute("title") == "own sell order of 2"
        assert page.locator(".anb-last").get_attribute("title") == "last trade 99.99, size 4"
        assert page.locator(".anb-badge").text_content() == "halted"


def test_a_ladder_scrolls_with_the_focus_alone_and_is_centred_again(page):
    with closing(Ladder(Marked(), depth=4)) as ladder:
        start(page, ladder)
        before = page.evaluate(PRICES)

        page.locator(".anb-rows").hover()
        page.mouse.wheel(0, -88)
        without = page.evaluate(PRICES)
        page.locator(".anb-grid").focus()
        page.mouse.wheel(0, -88)
        page.wait_for_function(f"(first) => ({PRICES})()[0] !== first", arg=before[0])
        scrolled = page.evaluate(PRICES)
        page.keyboard.press("Home")

        assert without == before
        assert "⋮ 993 steps" in scrolled
        assert page.evaluate(PRICES) == before


def test_keys_choose_a_price_of_the_ladder_and_sum_up_to_it(page):
    with closing(Ladder(Marked(), depth=4)) as ladder:
        start(page, ladder)
        page.locator(".anb-grid").focus()

        for key in ("ArrowUp", "ArrowUp", "ArrowUp", "ArrowUp", "ArrowUp"):
            page.keyboard.press(key)

        assert page.locator(".anb-foot").text_content() == "10 in 2 levels, average 100.009"
        active = page.locator(".anb-grid").get_attribute("aria-activedescendant")
        assert page.locator(f"[id='{active}'] .anb-price").text_content() == "100.03"


def test_a_ladder_of_prices_above_zero_has_none_below(page):
    book = Books()
    book.bids, book.asks = np.array([[0.02, 5.0]]), np.array([[0.03, 5.0]])
    with closing(Ladder(book, depth=4, step=0.01)) as ladder:
        start(page, ladder)

        assert [price for price in page.evaluate(PRICES) if price] == [
            "0.07",
            "0.06",
            "0.05",
            "0.04",
            "0.03",
            "0.02",
            "0.01",
        ]


def test_a_ladder_says_that_its_book_is_empty(page):
    book = Books()
    with closing(Ladder(book, depth=4)) as ladder:
        start(page, ladder)

        book.bids = book.asks = np.empty((0, 2))
        book.integrity = "empty"
        update(page, ladder)

        assert page.locator(".anb-nothing").text_content() == "empty: no bid and no ask"
        assert set(page.evaluate(PRICES)) == {""}


def test_what_an_empty_ladder_says_is_not_written_over_the_prices_round_the_last_trade(page):
    book = Books()
    book.marks = lambda: BookMarks(100.0, 7.0, (), "")
    with closing(Ladder(book, depth=4)) as ladder:
        start(page, ladder)

        book.bids = book.asks = np.empty((0, 2))
        book.integrity = "empty"
        update(page, ladder)

        assert any(page.evaluate(PRICES))
        assert page.locator(".anb-nothing").text_content() == ""
        assert "empty: no bid and no ask" in page.locator(".anb-foot").text_content()
