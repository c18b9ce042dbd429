"""Recordings of feeds: begun late, going on after a restart, ended by a disk, and what they hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import aries_nb as anb
from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.model.journal import HOLE
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.backoff import BackoffRule
from aries_nb.recording import RecordingReader
from aries_nb.sim import AlorOptions, SimOptions, Simulator
from aries_nb.sim.alor.prints import MOST_PRINTS
from tests.live.test_alor_reconnect import trade_a_lot
from tests.live.test_replay import SYMBOLS, asked, sha256, to_the_end
from tests.net.patience import eventually

TOKEN = "a user's token Qx7_UzI1NiJ9-signed-by.Jane"


@pytest.fixture
def market(request: pytest.FixtureRequest) -> Iterator[Callable[..., Feed]]:
    """Open feeds on a simulated market of a broker, with a token of their own, that end with the test."""
    with ExitStack() as stack:
        urls: dict[str, str] = {}

        def begin(broker: str = "aries", **options: Any) -> Feed:
            if broker not in urls:
                of = SimOptions(rate=2_000) if broker == "aries" else AlorOptions(rate=2_000)
                urls[broker] = stack.enter_context(Simulator(of)).url
            made = Feed(BROKERS[broker], urls[broker], fixed_token(TOKEN), at_close=lambda _: None, **options)
            feed = stack.enter_context(made)
            feed.wait_open(30)
            return feed

        yield begin


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "day.anb"


def replayed(path: Path) -> Feed:
    past = anb.replay(path, speed="max")
    eventually(lambda: not past.clock.is_playing)
    return past


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_a_recording_begun_late_has_all_from_the_beginning(
    market: Callable[..., Feed], path: Path, broker: str
) -> None:
    feed = market(broker)
    live = asked(feed, broker)
    eventually(lambda: len(live["trades"].df) > 100)
    with feed.record(path) as recording:
        assert feed.record(path) is recording
        count = len(live["trades"].df)
        eventually(lambda: len(live["trades"].df) > count + 100)
        feed.close()
    with replayed(path) as past:
        assert {name: sha256(each.df) for name, each in asked(past, broker).items()} == {
            name: sha256(each.df) for name, each in live.items()
        }


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_a_symbol_that_was_refused_and_bars_not_asked_for_are_none_that_were_recorded(
    market: Callable[..., Feed], path: Path, broker: str
) -> None:
    with market(broker, record=path) as feed:
        with pytest.raises(anb.UnknownSymbolError):
            feed.quotes("NOPE")
        trades = feed.trades(SYMBOLS[broker][0], fields=["price", "size"])
        feed.quotes(*SYMBOLS[broker]).wait(rows=5)
        trades.close()
    with anb.replay(path) as past:
        past.clock.pause()
        for _ in range(2):
            with pytest.raises(anb.UsageError, match=f"quotes of NOPE were not recorded.*{SYMBOLS[broker][0]}"):
                past.quotes("NOPE")
            for symbol in SYMBOLS[broker]:
                advice = rf'feed\.trades\("{symbol}"\)\.bars\("1min"\)'
                with pytest.raises(anb.UsageError, match=rf"bars of {symbol} were not recorded \(.*\)\..*{advice}"):
                    past.bars(symbol, "1min")
            past.clock.seek(past.clock.end)


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_after_a_restart_the_rows_of_before_are_there_and_one_gap(
    market: Callable[..., Feed], path: Path, broker: str
) -> None:
    with market(broker, record=path) as feed:
        before = feed.quotes(*SYMBOLS[broker])
        eventually(lambda: len(before.df) > 20)
    with market(broker, record=path) as feed:
        quotes = feed.quotes(*SYMBOLS[broker])
        assert sha256(quotes.df.iloc[: len(before.df)]) == sha256(before.df)
        eventually(lambda: len(quotes.df) > len(before.df) + 20)
        (gap,) = feed.gaps.df.to_dict("records")
        assert (gap["stream"], gap["cause"], gap["filled"]) == ("market", "recording", False)
        assert before.df["received"].max() <= gap["started"] < gap["ended"] <= quotes.df["received"].max()
        counts = feed.ledger.iloc[0]
        assert counts["filled"] == len(before.df)
    with replayed(path) as past:
        assert sha256(past.quotes(*SYMBOLS[broker]).df) == sha256(quotes.df)
        assert sha256(past.gaps.df) == sha256(feed.gaps.df)


def test_a_process_that_is_killed_loses_what_was_not_synced_and_says_so(path: Path) -> None:
    script = f"""
import aries_nb as anb, os, signal
feed = anb.connect("sim", rate=2000, record={str(path)!r})
quotes = feed.quotes("AAPL")
quotes.wait(rows=200, timeout=60)
feed.record({str(path)!r}).flush()
print(len(quotes.df), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == -9, ended.stderr
    with replayed(path) as past:
        assert len(past.quotes("AAPL").df) >= 200
        (gap,) = past.gaps.df.to_dict("records")
        assert gap["cause"] == "recording"


@pytest.mark.parametrize("broker", ["aries", "alor"])
def test_no_token_is_in_a_recording(market: Callable[..., Feed], path: Path, broker: str) -> None:
    with market(broker, record=path) as feed:
        feed.trades(*SYMBOLS[broker]).wait(rows=50)
    bodies = [event.body for event in RecordingReader(path).events()]
    assert len(bodies) > 5
    files = [file.read_bytes() for file in path.iterdir()]
    for piece in (TOKEN[at : at + 8].encode() for at in range(len(TOKEN) - 8)):
        assert not [body for body in (*bodies, *files) if piece in body]


def test_the_folder_is_for_the_user_alone(market: Callable[..., Feed], path: Path) -> None:
    mask = os.umask(0)
    try:
        market(record=path).close()
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o600}


def test_what_is_no_recording_is_refused_and_stays(market: Callable[..., Feed], tmp_path: Path) -> None:
    file, folder = tmp_path / "notes.txt", tmp_path / "folder"
    file.write_text("mine")
    folder.mkdir()
    feed = market()
    for wrong in (file, folder):
        with pytest.raises(anb.FeedError, match="not a recording"):
            feed.record(wrong)
        with pytest.raises(anb.UsageError, match="not a recording"):
            anb.replay(wrong)
    with pytest.raises(anb.UsageError, match="no recording"):
        anb.replay(tmp_path / "none.anb")
    for wrong in ("", None, 5):
        with pytest.raises(anb.UsageError, match="is no path"):
            feed.record(wrong)  # type: ignore[arg-type]
    assert file.read_text() == "mine"
    assert not list(folder.iterdir())


def test_a_recording_of_another_broker_is_refused(market: Callable[..., Feed], path: Path) -> None:
    market("aries", record=path).close()
    with pytest.raises(anb.UsageError, match=r"'aries'.*'alor'"):
        market("alor").record(path)
    with pytest.raises(anb.UsageError, match=r"'aries'.*'alor'"):
        anb.replay(path, broker="alor")


@pytest.mark.parametrize("wrong", [{"keep": "soon"}, {"keep": "-1 days"}, {"max_gb": 0}, {"max_gb": "much"}])
def test_wrong_limits_are_refused_and_nothing_is_made(
    market: Callable[..., Feed], path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(anb.UsageError, match=next(iter(wrong))):
        market().record(path, **wrong)
    assert not path.exists()


def test_a_feed_that_has_received_too_much_is_recorded_from_its_beginning_only(
    market: Callable[..., Feed], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aries_nb.live.recordings.recording.EventRing.__init__.__defaults__", (1_000,))
    feed = market()
    feed.quotes("AAPL").wait(rows=50)
    with pytest.raises(anb.UsageError, match="record="):
        feed.record(path)


def test_a_full_disk_ends_the_recording_and_the_feed_goes_on(
    market: Callable[..., Feed], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = market(record=path)
    quotes = feed.quotes("AAPL").wait(rows=10)
    recording = feed.record(path)
    recording.flush()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aries_nb.recording.writer.write_all", full)
    eventually(lambda: recording.error is not None)
    count = len(quotes.df)
    eventually(lambda: len(quotes.df) > count)
    assert "full" in str(recording.error)
    assert "the recording ended" in feed.stats().last_error
    assert not recording.is_open
    assert re.search("full", repr(recording))
    monkeypatch.undo()
    assert [event for event in RecordingReader(path).events() if event.what != HOLE]


def test_a_recording_says_in_a_cell_what_it_does(market: Callable[..., Feed], tmp_path: Path) -> None:
    path = tmp_path / "<b>day</b>.anb"
    recording = market(record=path).record(path)
    recording.flush()
    html = recording._repr_html_()
    assert "&lt;b&gt;day" in html
    assert "<b>" not in html
    assert all(each in html for each in ("recording", "events", "last sync", "free on the disk"))
    recording.close()
    recording.close()
    assert "closed" in recording._repr_html_()


def test_a_replay_starts_where_it_is_told_and_ends_where_the_recording_does(
    market: Callable[..., Feed], path: Path
) -> None:
    with market(record=path) as feed:
        quotes = feed.quotes("AAPL").wait(rows=500, timeout=60)
    middle = quotes.df["received"].iloc[250]
    with anb.replay(path, speed=1, start=middle) as past:
        past.clock.pause()
        rows = past.quotes("AAPL").df
        assert 250 <= len(rows) < 500
        assert past.url == str(path)
        with pytest.raises(anb.UsageError, match="a replay is not recorded"):
            past.record(path)
        to_the_end(past)
        assert len(past.quotes("AAPL").df) == len(quotes.df)
        assert repr(past.clock).startswith("<clock of a replay")
    for wrong in (0, -1, "fast"):
        with pytest.raises(anb.UsageError, match="is no speed"):
            anb.replay(path, speed=wrong)
    with pytest.raises(anb.UsageError, match="outside"):
        anb.replay(path, start="2001-01-01")


def test_a_replay_asks_no_server(market: Callable[..., Feed], path: Path) -> None:
    market(record=path).close()
    with replayed(path) as past, pytest.raises(anb.UsageError, match="a replay asks no server"):
        past.reference.search("AAPL")


def test_trades_that_came_over_http_are_in_replays_sealed_rows_and_after_a_restart(
    market: Callable[..., Feed], path: Path
) -> None:
    with Simulator(AlorOptions(rate=300)) as sim:

        def opened(**options: Any) -> Feed:
            made = Feed(BROKERS["alor"], sim.url, fixed_token(TOKEN), at_close=lambda _: None, **options)
            made.wait_open(30)
            return made

        with opened(record=path, rule=BackoffRule(0.4, 0.4, 0.4)) as feed:
            trades = feed.trades("SBER").wait(rows=20, timeout=60)
            sim.drop_connections()
            eventually(lambda: feed.state == "reconnecting")
            sim._call(lambda: trade_a_lot(sim, "SBER", MOST_PRINTS + 500))
            eventually(lambda: trades.ledger.filled and trades.df["source"].iloc[-1] == "live", seconds=60)
        ids = trades.df["trade_id"].tolist()
        assert (trades.df["source"] == "history").sum() >= 500
        with anb.replay(path) as past:
            past.clock.pause()
            early = past.trades("SBER")
            past.clock.seek(past.clock.end)
            late = past.trades("SBER", rows=90_000)
            assert [each.df["trade_id"].tolist() for each in (early, late)] == [ids, ids]
            past.clock.seek(past.clock.start)
            past.clock.seek(past.clock.end)
            assert early.df["trade_id"].tolist() == ids
        assert sorted(anb.recordings(path).df("trades")["trade_id"]) == ids  # theirs is the order of arrival
        with opened(record=path) as feed:
            assert feed.trades("SBER").df["trade_id"].tolist()[: len(ids)] == ids
