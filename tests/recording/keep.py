"""Makes the recordings in `kept`, which later versions must replay to the same values; see `test_kept.py`.

    python -m tests.recording.keep FOLDER

Those of a format that was ever published stay. A newer format gets recordings of its own beside them; so did the later
form of the first, `sum`, whose batches have one checksum and which has noted states.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd

from aries_nb.brokers import BROKERS
from aries_nb.live import Feed
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.backoff import BackoffRule
from aries_nb.recording import RecordingReader
from aries_nb.sim import AlorOptions, SimOptions, Simulator
from tests.net.patience import eventually

__all__ = ["KEPT", "STATED", "asked", "is_computed", "opened", "shown"]

KEPT = Path(__file__).with_name("kept")
STATED = "stated.json"
SYMBOLS = {"aries": ("AAPL", "MSFT"), "alor": ("SBER", "GAZP")}
ACCOUNTS = {"aries": "ACC-1", "alor": "D00001"}
MOST_BYTES = 200_000


def opened(broker: str, url: str, **options: Any) -> Feed:
    return Feed(BROKERS[broker], url, fixed_token("a token"), at_close=lambda _: None, **options)


def asked(feed: Feed, broker: str) -> dict[str, Any]:
    """All kinds of live objects that the broker has."""
    one, other = SYMBOLS[broker]
    account = feed.account(ACCOUNTS[broker])
    live: dict[str, Any] = {
        "quotes": feed.quotes(one, other),
        "trades": feed.trades(one, other),
        "book": feed.book(one),
        "orders": account.orders,
        "fills": account.fills,
        "positions": account.positions,
        "balances": account.balances,
        "equity": account.equity,
        "bars": feed.bars(one, "1min", history="1d"),
    }
    if "news" in feed.tables:
        live["news"] = feed.news()
    if "watchlists" in feed.tables:
        live["watchlists"] = feed.watchlists
    if broker == "alor":
        live["instruments"] = feed.instruments(one)
    return live


def shown(feed: Feed, live: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The number of rows and the hash of the values of each column of each frame."""
    frames = {name: each.df for name, each in live.items()}
    frames["latest"] = live["quotes"].latest
    frames["log"] = live["orders"].log
    frames["explained"] = live["equity"].explained
    frames["gaps"] = feed.gaps.df
    ledger = feed.ledger.sort_values(["kind", "symbols"], ignore_index=True)
    # Without the frames of marks and bars, which began with rows of others: these count as filled then.
    others = ledger["kind"].isin(["quotes", "trades"]) & (ledger["symbols"] != " ".join(live["quotes"].symbols))
    frames["ledger"] = ledger[~others].reset_index(drop=True)
    return {
        name: {"rows": len(frame), "columns": {str(key): _sha256(each) for key, each in frame.reset_index().items()}}
        for name, frame in frames.items()
    }


def is_computed(live: dict[str, Any]) -> bool:
    """Whether equity and marks are computed of all that was received."""
    return bool(live["equity"]._source.is_computed and live["positions"]._marks._sampling.is_computed)


def _sha256(column: pd.Series[Any]) -> str:
    """The hash of a column's values, whatever pandas calls their type."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.as_unit("us").astype("int64")
    texts = ["" if pd.isna(value) else str(value) for value in column.tolist()]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _made(broker: str, path: Path) -> dict[str, Any]:
    options = SimOptions(rate=60) if broker == "aries" else AlorOptions(rate=60)
    with (
        Simulator(options) as market,
        opened(broker, market.url, record=path, rule=BackoffRule(first=0.3, cap=0.5)) as feed,
    ):
        feed.wait_open(30)
        live = asked(feed, broker)
        live["equity"].wait(moments=5)
        time.sleep(4)
        market.drop_connections()
        eventually(lambda: len(feed.gaps.df) and feed.gaps.df["ended"].notna().all())
        eventually(lambda: len(live["fills"]) > 1 and len(live["trades"].df) > 50, seconds=60)
        recording = feed.record(path)

        def look() -> dict[str, Any] | None:
            if not is_computed(live):
                return None
            recording._detach()
            return {"until": feed._link.clock.now_ns(), "frames": shown(feed, live)}

        stated = next(filter(None, iter(lambda: feed._link.arrivals.do(look).result(), 0)))
        recording.close()
    return stated


def main(folder: Path) -> None:
    for broker in SYMBOLS:
        path = folder / f"{broker}-1.anb"
        stated = _made(broker, path)
        (path / "lock").unlink()
        (path / STATED).write_text(json.dumps(stated, indent=1) + "\n")
        size = sum(file.stat().st_size for file in path.iterdir())
        sys.stdout.write(f"{path}: {RecordingReader(path).summary.events:,} events, {size:,} bytes\n")
        assert size < MOST_BYTES


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
