"""A minute without a server for 500 clients, in real time, then a server that accepts and disconnects: `make soak`.

Real sessions, a real port that refuses: when each tries again is noted where it waits, when it is back where the server
lets it in. Prints one table; exits with 1 if a line of it does not hold. `--picture docs/backoff.svg` draws the minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":
    # Run as a file, the first entry of the path is this folder; the modules are named from the root of the project.
    sys.path[0] = str(Path(__file__).parents[2])

from aries_nb.brokers import BROKERS
from aries_nb.net import session as session_module
from aries_nb.net.auth.tokens import fixed_token
from aries_nb.net.backoff import Backoff
from aries_nb.net.session import Session
from aries_nb.sim import SimOptions, Simulator
from aries_nb.store import GapLog
from tests.net.rude import RudeServer, answer_pings
from tests.soak.renewal import Line, within

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from websockets.asyncio.server import ServerConnection

CLIENTS = 500
HEALTHY_S = 10.0  # what a connection has to live for its next one to start over
OUTAGE_S = 60.0
BACK_S = 45.0  # for the last one to be back: the longest wait is 30 s
SURGE = 3.0  # times the mean over the time it takes, which the busiest second has to stay below
KICKS_S = 30.0


class Attempts:
    """Times of the next attempts of clients that failed, by the monotonic clock."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def noted(self) -> type[Backoff]:
        """The backoff of a session, unchanged except that it records each attempt."""
        times = self.times

        class Noted(Backoff):
            def next(self, *, lived: float | None, jitter: float) -> float:
                delay = super().next(lived=lived, jitter=jitter)
                times.append(time.monotonic() + delay)
                return delay

        return Noted


class Watched:
    """A session, and when it was back."""

    def __init__(self, url: str) -> None:
        endpoint = BROKERS["aries"].market
        gaps = GapLog().stream("outage")
        self.session = Session(url + endpoint.path, endpoint.make(), fixed_token("a token"), gaps)
        self.back: list[float] = []
        self._was = self.session.state
        self.session.watch(self._look)

    def _look(self) -> None:
        if self.session.state == "live" and self._was == "reconnecting":
            self.back.append(time.monotonic())
        self._was = self.session.state


def main() -> int:
    """Run both parts and print the outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=CLIENTS, help="how many (default: %(default)d)")
    parser.add_argument("--seconds", type=float, default=OUTAGE_S, help="of the outage (default: %(default)g)")
    parser.add_argument("--kicks", type=float, default=KICKS_S, help="seconds of kicks (default: %(default)g)")
    parser.add_argument("--picture", type=Path, help="where to draw when clients tried and when they were back (SVG)")
    chosen = parser.parse_args()
    attempts = Attempts()
    session_module.Backoff = attempts.noted()  # type: ignore[misc]
    tried, back = outage(chosen.clients, chosen.seconds, attempts)
    lines = returned(chosen.clients, chosen.seconds, tried, back) + kicked(chosen.kicks)
    if chosen.picture is not None:
        chosen.picture.write_text(picture(chosen.clients, chosen.seconds, tried, back), encoding="utf-8")
    width = max(len(line.what) for line in lines)
    for line in lines:
        verdict = "ok  " if line.is_met else "MISS"
        sys.stdout.write(f"{verdict}  {line.what:<{width}}  {line.measured!s:>28}  {line.wanted}\n")
    return 0 if all(line.is_met for line in lines) else 1


def outage(clients: int, seconds: float, attempts: Attempts) -> tuple[list[float], list[float]]:
    """When clients tried to connect, and when each was back: seconds since the server went away."""
    with ExitStack() as stack:
        first = stack.enter_context(Simulator(SimOptions(rate=1)))
        port = int(first.url.rpartition(":")[2])
        every = [Watched(first.url) for _ in range(clients)]
        for each in every:
            stack.callback(each.session.close)
            each.session.wait_open(60)
        time.sleep(HEALTHY_S)
        attempts.times.clear()
        away = time.monotonic()
        first.close()
        time.sleep(seconds)
        stack.enter_context(Simulator(SimOptions(rate=1, port=port)))
        within(BACK_S, lambda: all(each.back for each in every))
        back = [at - away for each in every for at in each.back[:1]]
        return sorted(at - away for at in attempts.times), sorted(back)


def returned(clients: int, seconds: float, tried: Sequence[float], back: Sequence[float]) -> list[Line]:
    """The figures of the minute."""
    # Attempts, which are the clients' doing: how soon each is let in is up to the server, and this machine.
    after = sorted(at - seconds for at in tried if at >= seconds)[:clients]
    span = max(after[-1], 1.0) if after else 1.0
    (busiest, most), mean = max(by_second(after).items(), key=lambda each: each[1], default=(0, 0)), len(after) / span
    during = by_second(at for at in tried if at < seconds)
    late = [count for second, count in during.items() if second >= seconds / 2]
    return [
        Line("clients, seconds without a server", f"{clients} {seconds:g}", "", True),
        Line("clients that are back", len(back), "all", len(back) == clients),
        Line("attempts in the outage, of one client", f"{sum(during.values()) / clients:.1f}", "", True),
        Line("most attempts in a second of its second half", max(late, default=0), "", True),
        Line("back after its end, seconds: half of them, all", shown(back, seconds), "", True),
        Line("attempts a second after its end: mean, most", f"{mean:.1f} {most} (second {busiest})", "", True),
        Line("most to mean", f"{most / mean:.2f}", f"≤ {SURGE:g}, no surge", most <= SURGE * mean),
    ]


def kicked(seconds: float) -> list[Line]:
    """How often a server that accepts and disconnects sees one client."""

    async def kick(server: RudeServer, connection: ServerConnection) -> None:
        await server.log_in(connection)
        await answer_pings(connection, 1)
        await connection.close(1011, "go away")

    with RudeServer(kick) as server:
        client = Watched(server.url)
        client.session.wait_open(10)
        time.sleep(seconds)
        client.session.close()
    waits = [later - earlier for earlier, later in zip(server.times[1:], server.times[2:], strict=False)]
    mean = sum(waits) / max(len(waits), 1)
    return [
        Line(f"accept-then-kick: attempts in {seconds:g} s", len(server.times), "", len(server.times) > 2),
        Line("seconds from the second on: least, mean", f"{min(waits):.1f} {mean:.1f}", "≥ 2", min(waits) >= 2.0),
    ]


def shown(back: Sequence[float], seconds: float) -> str:
    return f"{back[len(back) // 2] - seconds:.1f} {back[-1] - seconds:.1f}" if back else "never"


def by_second(times: Iterable[float]) -> Counter[int]:
    return Counter(int(at) for at in times)


WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 760, 260, 44, 34, 34
TRIED, BACK, PALE = "#9aa5b1", "#1f77b4", "#f3f0e8"


def picture(clients: int, seconds: float, tried: Sequence[float], back: Sequence[float]) -> str:
    """Bars of one second: attempts that were refused, clients that came back."""
    refused = by_second(at for at in tried if at < seconds)
    returned = by_second(back)
    last = max([*refused, *returned, int(seconds)]) + 1
    top = max([*returned.values(), *(count for second, count in refused.items() if second >= 2), 1])
    across, up = (WIDTH - LEFT - 12) / last, (HEIGHT - TOP - BOTTOM) / top
    floor = HEIGHT - BOTTOM

    def bar(second: int, count: int, color: str) -> str:
        height = min(count * up, floor - TOP + 6)  # the first attempts of all go beyond the frame
        return (
            f'<rect x="{LEFT + second * across:.1f}" y="{floor - height:.1f}" width="{across * 0.85:.1f}" '
            f'height="{height:.1f}" fill="{color}"/>'
        )

    def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'

    first = sum(count for second, count in refused.items() if second < 2)
    marks = [text(LEFT + s * across, floor + 15, f"{s}") for s in range(0, last + 1, 10)]
    scale = [text(LEFT - 6, floor - count * up + 4, f"{count}", "end") for count in (0, top // 2, top)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
            f'font-size="11" fill="#444">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            f'<rect x="{LEFT}" y="{TOP}" width="{seconds * across:.1f}" height="{floor - TOP}" fill="{PALE}"/>',
            *(bar(second, count, TRIED) for second, count in sorted(refused.items())),
            *(bar(second, count, BACK) for second, count in sorted(returned.items())),
            f'<line x1="{LEFT}" y1="{floor}" x2="{WIDTH - 12}" y2="{floor}" stroke="#444"/>',
            *marks,
            *scale,
            text(LEFT + 4 + 2 * across, TOP + 12, f"← {first} in the first two seconds", "start"),
            text(LEFT + seconds * across / 2, 20, f"the server is away: attempts a second of {clients} clients"),
            text(WIDTH - 12, 20, "it serves: clients back a second", "end"),
            text((WIDTH + LEFT) / 2, HEIGHT - 4, "seconds since the server went away"),
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
