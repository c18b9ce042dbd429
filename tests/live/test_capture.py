"""`feed.capture`: a notebook that runs, with its recording beside it, and nothing of the user in any byte."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

import aries_nb as anb
from aries_nb.live import Feed
from aries_nb.live.recordings.capture import capture
from aries_nb.model.journal import Event
from aries_nb.recording import RecordingReader
from tests.kernels import manager_of
from tests.live.test_recording import TOKEN, market
from tests.live.test_replay import SYMBOLS, asked, sha256
from tests.net.patience import eventually

__all__ = ["market"]

ACCOUNTS = {"aries": "ACC-1", "alor": "D00001"}


@pytest.mark.parametrize("broker", ["aries", "alor"])
@pytest.mark.parametrize("is_recorded", [False, True])
def test_a_capture_replays_what_the_feed_had_without_token_or_account(
    market: Callable[..., Feed], tmp_path: Path, broker: str, is_recorded: bool
) -> None:
    feed = market(broker, **({"record": tmp_path / "day.anb"} if is_recorded else {}))
    live = asked(feed, broker)
    account = feed.account(ACCOUNTS[broker])
    equity, orders = account.equity, account.orders
    bars = feed.bars(SYMBOLS[broker][0], "1min", history="30min")
    eventually(lambda: len(live["trades"].df) > 50 and len(equity.df) > 2)

    notebook = feed.capture(tmp_path / "why.ipynb", last="1s")

    del orders, bars
    recording = tmp_path / "why.anb"
    assert notebook == tmp_path / "why.ipynb"
    written = [file.read_bytes() for file in (notebook, *recording.iterdir())]
    bodies = [event.body for event in RecordingReader(recording).events()]
    assert len(bodies) > 5
    for secret in (*(TOKEN[at : at + 8] for at in range(len(TOKEN) - 8)), ACCOUNTS[broker]):
        assert not [each for each in (*written, *bodies) if secret.encode() in each], secret
    with anb.replay(recording, speed="max") as past:
        eventually(lambda: not past.clock.is_playing)
        for name, each in asked(past, broker).items():
            rows = each.df
            if name not in ("book", "window"):
                assert len(rows)
                assert sha256(live[name].df.iloc[: len(rows)]) == sha256(rows)
        assert past.accounts == ()


def test_the_notebook_opens_and_runs(market: Callable[..., Feed], tmp_path: Path) -> None:
    feed = market()
    live = asked(feed, "aries")
    eventually(lambda: len(live["trades"].df) > 50)

    notebook = nbformat.read(feed.capture(tmp_path / "why it's.ipynb"), as_version=4)
    nbformat.validate(notebook)
    kernels = manager_of(AsyncKernelManager)
    client = NotebookClient(notebook, km=kernels, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(cleanup_kc=True)

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    text = "\n".join(cell.source for cell in code)
    assert re.search(r"past\.quotes\('AAPL', 'MSFT', fields=\['bid_price'", text)
    assert "past.book('AAPL')" in text
    outputs = [json.dumps(cell.outputs) for cell in code]
    assert not any('"output_type": "error"' in each for each in outputs)
    assert sum("text/html" in each for each in outputs) >= 4


@pytest.mark.parametrize(
    ("path", "last", "said"),
    [
        ("why.txt", "5min", "no path of a notebook"),
        (None, "5min", "no path of a notebook"),
        ("there.ipynb", "5min", "is there already"),
        ("half.ipynb", "5min", "is there already"),
        ("none/why.ipynb", "5min", "there is no folder"),
        ("why.ipynb", "soon", "last="),
    ],
)
def test_what_cannot_be_captured_is_said_and_nothing_is_written(
    market: Callable[..., Feed], tmp_path: Path, path: Any, last: str, said: str
) -> None:
    (tmp_path / "there.ipynb").write_text("mine")
    (tmp_path / "half.anb").mkdir()
    feed = market()

    with pytest.raises(anb.UsageError, match=said):
        feed.capture(path and tmp_path / path, last=last)

    assert sorted(each.name for each in tmp_path.iterdir()) == ["half.anb", "there.ipynb"]
    assert (tmp_path / "there.ipynb").read_text() == "mine"


def test_what_is_not_in_memory_any_more_is_not_captured_without_a_recording(
    market: Callable[..., Feed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aries_nb.live.recordings.recording.EventRing.__init__.__defaults__", (1_000,))
    feed = market()
    feed.quotes("AAPL").wait(rows=50)

    with pytest.raises(anb.UsageError, match="record="):
        feed.capture(tmp_path / "why.ipynb")

    assert not list(tmp_path.iterdir())


def test_what_came_on_a_connection_of_which_the_beginning_was_deleted_is_left_out(tmp_path: Path) -> None:
    secret = b'{"account":"HIDDEN-77","equity":5}'
    events = [
        Event(1, 5, 2, "frame", secret),
        Event(1, 6, 1, "session", b'["market",1]'),
        Event(1, 7, 1, "frame", b'{"of":"HIDDEN-77"}'),
        Event(1, 8, 3, "session", b'["accounts",1]'),
        Event(1, 9, 3, "frame", secret),
    ]

    capture(lambda: events, tmp_path / "why.ipynb", broker="aries", choices={}, accounts=(), last_ns=1)

    kept = [(event.what, event.body) for event in RecordingReader(tmp_path / "why.anb").events()]
    assert kept == [("session", b'["market",1]'), ("frame", b'{"of":"***"}')]
