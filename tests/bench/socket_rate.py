"""Messages through a loopback socket into a frame: compared with the vendor's client, and during a busy cell.

The server (`blast`) is a process of its own and sends as fast as it is read. Ours is `connect("aries").quotes(…)`: the
count of rows readable in the frame; once more with the path by message, and once recorded, with a replay of that
recording as fast as possible. The vendor's is `finance-dev`, its queue so
long that it never overflows, its events taken off the queue by a loop that does nothing else, in its threaded and its
asyncio form. Clients take turns; each runs for a fixed time and only what it delivered in that time counts.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from pathlib import Path

from aries_nb import replay
from aries_nb.live import Feed
from tests.bench.blast import blasting
from tests.bench.frames import SYMBOLS
from tests.bench.pace import Meter, Pace, by_message, cpu_ratio, in_turns, middle, ours
from tests.bench.results import Budget, Effort, Outcome, Peer
from tests.bench.rounds import ratio

__all__ = ["TOKEN", "Goals", "compared", "measure"]

TURN_SECONDS, CELL_SECONDS = 1.0, 4.0
SMOKE_SECONDS = 0.2
WANTED = ["bidPrice", "bidSize", "askPrice", "askSize", "quoteTimestamp"]
VENDOR_QUEUE = 50_000_000
TOKEN = b64encode(random.Random(1).randbytes(300)).decode()  # recordings search frames for it


class Goals:
    """The budgets of one broker: `to_peer` and `busy` are ratios of rates, `cpu` one of CPU time; then messages/s."""

    def __init__(self, *, to_peer: float, cpu: float, busy: float, busy_rate: float) -> None:
        self.to_peer, self.cpu, self.busy, self.busy_rate = to_peer, cpu, busy, busy_rate


def measure(effort: Effort) -> Outcome:
    """The budgets of the socket for Aries."""
    import aries_nb as anb

    with blasting(0) as url:
        seconds = effort.choose(TURN_SECONDS, TURN_SECONDS, SMOKE_SECONDS)
        peers = {
            "finance-dev 0.9.0, asyncio": lambda: asyncio.run(_vendor_async(url, seconds)),
            "finance-dev 0.9.0, threads": lambda: _vendor_threads(url, seconds),
        }
        connected: Callable[..., Feed] = partial(anb.connect, "aries", url=url, token=TOKEN)
        goals = Goals(to_peer=11, cpu=1.8, busy=1.8, busy_rate=155_000)
        return compared(connected, peers, effort, goals)


def compared(
    connected: Callable[..., Feed],
    peers: dict[str, Callable[[], Pace]],
    effort: Effort,
    goals: Goals,
    *,
    name: str = "",
) -> Outcome:
    """Compare a feed with the peers, its path by message and its recording; `name` is put before the rows' texts."""
    turn_seconds = effort.choose(TURN_SECONDS, TURN_SECONDS, SMOKE_SECONDS)
    cell_seconds = effort.choose(CELL_SECONDS, CELL_SECONDS, SMOKE_SECONDS)

    def turn(seconds: float, *, is_busy: bool = False, is_by_message: bool = False) -> Pace:
        if not is_by_message:
            return ours(connected, seconds, is_busy=is_busy)
        with by_message():
            return ours(connected, seconds, is_busy=is_busy)

    kinds = {"ours": turn, "by message": partial(turn, is_by_message=True)}
    idle = {each: partial(kind, turn_seconds) for each, kind in kinds.items()}
    rounds = effort.choose(7, 2, 1)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.anb" for number in range(rounds)]
        to_record, to_replay = iter(paths), iter(paths)
        recorded = {
            "recorded": lambda: ours(partial(connected, record=next(to_record)), turn_seconds),
            "replayed": lambda: _replayed(next(to_replay)),
        }
        paces = in_turns(idle | recorded | peers, rounds)
    beside_cell = {each: partial(kind, cell_seconds, is_busy=True) for each, kind in kinds.items()}
    busy = in_turns(beside_cell, effort.choose(3, 1, 1))
    rates = {each: [pace.rate for pace in values] for each, values in paces.items()}
    middles = {each: middle(values) for each, values in paces.items()}
    best = max(peers, key=lambda each: middles[each].rate)
    times, cpu = ratio(rates["ours"], rates[best]), cpu_ratio(paces["ours"], paces["by message"])
    busy_times = ratio([pace.rate for pace in busy["ours"]], [pace.rate for pace in busy["by message"]])
    ours_, plain, theirs, beside = middles["ours"], middles["by message"], middles[best], middle(busy["ours"])
    budgets = [
        Budget(
            f"{name}through a loopback socket, to {best}",
            f"{times:.1f} × ({ours_.rate:,.0f} to {theirs.rate:,.0f} messages/s)",
            f"≥ {goals.to_peer} ×",
            times >= goals.to_peer,
            {"ratio": times, "rows_per_s": ours_.rate, "peer_per_s": theirs.rate},
        ),
        Budget(
            f"{name}the same, CPU time of a message to the path by message",
            f"{cpu:.2f} × less ({ours_.cpu_us:.2f} to {plain.cpu_us:.2f} µs)",
            f"≥ {goals.cpu} ×",
            cpu >= goals.cpu,
            {"ratio": cpu, "cpu_us": ours_.cpu_us, "by_message_cpu_us": plain.cpu_us},
        ),
        Budget(
            f"{name}the same while a pure-Python cell computes",
            f"{beside.rate:,.0f} messages/s over {cell_seconds:g} s ({beside.cpu_us:.2f} µs each)",
            f"≥ {goals.busy_rate:,}/s",
            beside.rate >= goals.busy_rate,
            {"rows_per_s": beside.rate, "cpu_us": beside.cpu_us},
        ),
        Budget(
            f"{name}that rate to the path by message",
            f"{busy_times:.2f} ×",
            f"≥ {goals.busy} ×",
            busy_times >= goals.busy,
            {"ratio": busy_times},
        ),
        *(
            Budget(
                f"{name}{what}, to the rate through the socket",
                f"{(times_ours := ratio(rates[each], rates['ours'])):.2f} × ({middles[each].rate:,.0f} messages/s)",
                f"≥ {least} ×",
                times_ours >= least,
                {"ratio": times_ours, "rows_per_s": middles[each].rate, "cpu_us": middles[each].cpu_us},
            )
            for each, what, least in (("recorded", "while it is recorded", 0.95), ("replayed", "a replay at max", 0.8))
        ),
    ]
    found = [
        Peer(each, f"{name}socket → event, {middles[each].cpu_us:.2f} µs of CPU", middles[each].rate, slower)
        for each, slower in ((each, ratio(rates["ours"], rates[each])) for each in peers)
    ]
    return Outcome(budgets, found)


def _replayed(path: Path) -> Pace:
    with replay(path) as past:
        past.clock.pause()
        frame = past.quotes(*SYMBOLS)
        begun, meter = frame.received, Meter()
        past.clock.seek(past.clock.end)
        return meter.pace(frame.received - begun)


async def _vendor_async(url: str, seconds: float) -> Pace:
    from finance_dev.websocket.auth import StaticTokenProvider
    from finance_dev.websocket.config import WebSocketConfig
    from finance_dev.websocket.transport.async_connection import AsyncConnection

    config = WebSocketConfig(incoming_queue_size=VENDOR_QUEUE, reconnect=False, close_timeout=0.5)
    stream = AsyncConnection(url + "/v1/market/ws", StaticTokenProvider("any"), config)
    await stream.connect()
    await stream.send_message(_subscription())
    await stream.get_event()
    count, meter = 0, Meter()
    while meter.seconds < seconds:
        await stream.get_event()
        count += 1
    pace = meter.pace(count)
    await stream.close()
    return pace


def _vendor_threads(url: str, seconds: float) -> Pace:
    from finance_dev.websocket.auth import StaticTokenProvider
    from finance_dev.websocket.config import WebSocketConfig
    from finance_dev.websocket.transport.sync_connection import SyncConnection

    config = WebSocketConfig(incoming_queue_size=VENDOR_QUEUE, reconnect=False, close_timeout=0.5)
    stream = SyncConnection(url + "/v1/market/ws", StaticTokenProvider("any"), config)
    stream.connect()
    stream.send_message(_subscription())
    next(stream)
    count, meter = 0, Meter()
    while meter.seconds < seconds:
        next(stream)
        count += 1
    pace = meter.pace(count)
    stream.close()
    return pace


def _subscription() -> dict[str, object]:
    items = [{"symbol": symbol, "quoteFields": WANTED} for symbol in SYMBOLS]
    return {"type": "subscribe", "id": "subscribe-1", "payload": items}
