"""No token is in any byte of a recording or a capture, and in a capture no account number, if a server repeats them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import aries_nb as anb
from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.model import Secret
from aries_nb.net.backoff import BackoffRule
from aries_nb.net.events.notes import NOTED
from aries_nb.recording import RecordingReader
from aries_nb.sim import AlorOptions, SimOptions, Simulator
from tests.live import test_replay as market_of
from tests.live import test_replay_of_accounts as accounts_of
from tests.net.patience import eventually

TOKENS = "first-Qx7_UzI1NiJ9-signed-by.Jane", "second/R4nd0m+tok3n==of.another", "0123456789abcdef" * 4
PIECE = 8


def written(recording: Path) -> Iterator[bytes]:
    """All that is in the files of a recording: the bytes as they are, and what is compressed in them."""
    for file in filter(Path.is_file, recording.rglob("*")):
        yield file.read_bytes()
        if file.suffix == ".parquet":
            yield json.dumps(pq.read_table(file).to_pylist(), default=str).encode()
    for event in RecordingReader(recording).events():
        yield json.dumps([event.what, event.body.decode(errors="replace")]).encode() + event.body


def pieces(secret: str) -> Iterator[bytes]:
    yield from (secret[at : at + PIECE].encode() for at in range(len(secret) - PIECE + 1))


@pytest.mark.parametrize("broker", [pytest.param("aries", marks=pytest.mark.long), "alor"])
def test_what_a_server_repeats_of_tokens_and_accounts_is_in_no_byte(
    broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aries_nb.net.events.notes.EVERY_RECORDS", 100)  # states of the sessions are noted as well
    monkeypatch.setattr("aries_nb.net.events.notes.COST_SHARE", 1.0)
    account, day = accounts_of.ACCOUNTS[broker], tmp_path / "day.anb"
    given, tokens = [], chain(TOKENS, iter(lambda: TOKENS[-1], None))

    def source() -> Secret:
        given.append(next(tokens))
        return Secret(given[-1])

    options: Any = SimOptions(rate=300) if broker == "aries" else AlorOptions(rate=300)
    rule = BackoffRule(first=0.01, cap=0.05)
    with (
        Simulator(options) as sim,
        Feed(BROKERS[broker], sim.url, source, at_close=lambda _: None, record=day, rule=rule) as feed,
    ):
        feed.wait_open(30)
        live = market_of.asked(feed, broker) | accounts_of.asked(feed, broker)
        for number in range(len(TOKENS)):
            for token in given:
                said = {"message": f"token {token} of {account}", token: [token[3:40]], "portfolio": account}
                sim.broadcast(json.dumps(said))
                sim.broadcast(f"{token}\n{account}")
            if number < len(TOKENS) - 1:
                breaks = feed.stats().reconnects
                sim.drop_connections()
                eventually(lambda: feed.stats().reconnects > breaks and feed.state == "live")  # noqa: B023
        eventually(lambda: len(live["trades"].df) > 20)
        messages = feed.stats().messages
        eventually(lambda: feed.stats().messages > messages)
        eventually(lambda: NOTED in {event.what for event in RecordingReader(day).events()})
        notebook = feed.capture(tmp_path / "why.ipynb", last="1min")
    anb.recordings(day).df("quotes")
    anb.recordings(notebook.with_suffix(".anb")).df("quotes")

    assert set(given) == set(TOKENS)
    assert NOTED in {event.what for event in RecordingReader(day).events()}
    kept, captured = list(written(day)), [notebook.read_bytes(), *written(notebook.with_suffix(".anb"))]
    assert any(b'"message":"token *** of' in each.replace(b": ", b":") for each in kept)
    assert any(account.encode() in each for each in kept)
    everything = b"\0".join((*kept, *captured))
    assert not {piece for token in TOKENS for piece in pieces(token) if piece in everything}
    assert not [each for each in captured if account.encode() in each]
