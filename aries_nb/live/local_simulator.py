"""The embedded simulated market: a server in a child process, which ends with this one, its clock and its troubles."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from itertools import count
from math import isfinite
from numbers import Real
from os import PathLike, fspath
from typing import IO, TYPE_CHECKING, TypeAlias, overload

import pandas as pd

from aries_nb.errors import ClosedError, ConnectError, UsageError
from aries_nb.live.arguments import checked_symbol
from aries_nb.live.moments.clock import FeedClock, checked_speed, checked_step, instant_of
from aries_nb.model import Secret
from aries_nb.model.settings import settings
from aries_nb.net.background import register_fork_aware
from aries_nb.net.events.replay_clock import MAX_SPEED
from aries_nb.net.events.steered_clock import Course, SteeredClock

if TYPE_CHECKING:
    from aries_nb.widgets import TroubleButtons

__all__ = ["EmbeddedMarket", "SimValue", "SimulatedClock", "Simulation", "arguments_from"]

SimValue: TypeAlias = int | float | str | PathLike[str] | Sequence[str] | Sequence[PathLike[str]] | None
CATCH_UP_SECONDS = 5.0  # for what was sent until the market stands; the rest comes later
GOING_ON = {"play", "seek", "step"}
WRONG_USAGE = 2  # exit status of the command line
OURS = "ARIES_NB_"  # environment variables of this package; not passed on: `ps e` would show a token
_OPTIONS = ("seed", "rate", "tape", "speed", "rough", "rough_seconds", "troubles")


def arguments_from(options: Mapping[str, SimValue]) -> list[str]:
    """Return options of `connect` as arguments of the command `aries-nb sim`.

    Raises UsageError for an unknown option.
    """
    arguments: list[str] = []
    for name, value in options.items():
        if name not in _OPTIONS:
            raise UsageError(f"unknown option {name}=", advice=f"A simulated market takes {', '.join(_OPTIONS)}.")
        if value is None or value is False:
            continue
        flag = f"--{name.replace('_', '-')}"
        if name == "rough":  # True for all troubles, a text with commas, or several names
            arguments.append(flag)
            if value is not True:
                arguments.append(value if isinstance(value, str) else ",".join(map(str, _many(value))))
            continue
        for each in _many(value):
            arguments += [flag, fspath(each) if isinstance(each, PathLike) else str(each)]
    return arguments


def _many(value: SimValue) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else [value]


class EmbeddedMarket:
    """A simulated market that runs in a child process; `url` is the WebSocket address where it serves.

    `broker` names the broker that it imitates, `arguments` are further ones of the command `aries-nb sim`
    (`arguments_from`). `refresh_token` is the one that it accepts, None where its broker has none. `clock` is its
    market time, which `command` steers through the pipes to the child: no other process can. The child ends when its
    standard input closes, which happens however this process ends. A fork of this process inherits the other end of
    that pipe until `after_fork` closes it there. Raises UsageError for options that it refuses, ConnectError where it
    does not start. Any thread.
    """

    def __init__(self, broker: str, arguments: Sequence[str]) -> None:
        self._listener: threading.Thread | None = None
        command = [sys.executable, "-m", "aries_nb", "sim", broker, "--end-with-input", *arguments]
        with tempfile.TemporaryFile() as complaints:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, our own arguments, no shell
                command,
                bufsize=0,  # no buffer has a lock that a fork would inherit
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,  # a notebook's "interrupt" goes to the kernel's whole process group
                env={name: value for name, value in os.environ.items() if not name.startswith(OURS)},
            )
            assert self._process.stdout is not None
            lines = _lines(self._process.stdout.fileno())
            try:
                said = self._first_words(lines, complaints)
            except BaseException:  # the traceback of an interrupt holds this frame, and so the process's input
                self.close()
                raise
        register_fork_aware(self)
        self.url = str(said["url"])
        token = said.get("refresh_token")  # where its broker issues access tokens for those
        self.refresh_token = Secret(token) if isinstance(token, str) else None
        self.clock = SteeredClock()
        self.start, self.speed, self.is_playing = 0, 1.0, True
        #: Clients get nothing now: an outage or a delay.
        self.is_interrupted = False
        self._troubles: dict[str, str] = {}
        self._numbers = count(1)
        self._answers: dict[int, Future[None]] = {}
        self._guard = threading.Lock()
        self._is_over = False
        self._at_end: list[Callable[[ClosedError], object]] = []
        self._listener = threading.Thread(target=self._listen, args=[lines], name="aries-nb-market", daemon=True)
        self._listener.start()
        try:
            self.command("state")
        except BaseException:
            self.close()
            raise

    def command(self, what: str, **more: object) -> None:
        """Have the market do something: "pause", "play", "seek", "step", "simulate"; blocks until it is done and sent.

        An interrupt of "seek" or "step" leaves the market standing where it is. Raises ClosedError when the market has
        ended, UsageError for what it refuses.
        """
        if what in GOING_ON:
            self.clock.part()
        done = self._send(what, more)
        try:
            done.result()
        except (KeyboardInterrupt, CancelledError):
            if what in {"seek", "step"}:
                self._send("pause", {})
            raise

    def troubles(self) -> dict[str, str]:
        """Return the troubles that `command("simulate", trouble=…, seconds=…)` takes, each in one line."""
        if not self._troubles:
            self.command("troubles")
        return dict(self._troubles)

    def when_ended(self, callback: Callable[[ClosedError], object]) -> None:
        """Call `callback` with the error that says so when the market has ended, at once if it has; on any thread."""
        with self._guard:
            is_over = self._is_over
            if not is_over:
                self._at_end.append(callback)
        if is_over:
            callback(_ended())

    def _send(self, what: str, more: Mapping[str, object]) -> Future[None]:
        done: Future[None] = Future()
        pipe = self._process.stdin
        with self._guard:
            number = next(self._numbers)
            self._answers[number] = done
            try:
                if self._is_over or pipe is None:
                    raise BrokenPipeError
                pipe.write(json.dumps({"id": number, "do": what, **more}).encode() + b"\n")
            except (OSError, ValueError):
                del self._answers[number]
                raise _ended() from None
        return done

    def _listen(self, lines: Iterator[bytes]) -> None:
        """Take what the market says until it ends; on a thread of its own."""
        for line in lines:
            said = json.loads(line)
            self._troubles = said.get("troubles", self._troubles)
            if (state := said.get("clock")) is not None:
                self.is_interrupted = state["is_interrupted"]
                self.start, self.is_playing = state["start"], state["is_playing"]
                self.speed = MAX_SPEED if state["speed"] == "max" else state["speed"]
                pace = self.speed if self.is_playing and not state["is_hurried"] else 0.0
                self.clock.steer(Course(state["now"], state["at"], pace))
            with self._guard:
                done = self._answers.pop(said.get("id"), None)
            if done is not None and "error" in said:
                done.set_exception(UsageError(f"the simulated market refused: {str(said['error']).rstrip('.')}"))
            elif done is not None:
                done.set_result(None)
        with self._guard:
            self._is_over, left = True, list(self._answers.values())
            self._answers.clear()
        for done in left:
            done.set_exception(_ended())
        for callback in self._at_end:
            callback(_ended())

    def _first_words(self, lines: Iterator[bytes], complaints: IO[bytes]) -> dict[str, object]:
        line = next(lines, b"")
        if line:
            said: dict[str, object] = json.loads(line)
            return said
        self.close()
        complaints.seek(0)
        last = complaints.read().decode("utf-8", "replace").strip().splitlines()
        raise self._refusal(last[-1] if last else "no message")

    def _refusal(self, said: str) -> UsageError | ConnectError:
        if self._process.returncode == WRONG_USAGE:
            reason = said.removeprefix("aries-nb: ").rstrip(".")
            return UsageError(f"the simulated market refused its options: {reason}")
        return ConnectError(
            f"the simulated market did not start: {said}", advice="Run `aries-nb doctor` to find the cause."
        )

    @property
    def is_running(self) -> bool:
        """Whether the child process is running."""
        return self._process.poll() is None

    def after_fork(self) -> None:
        """Close the pipes to the child in a forked process, so that it ends with the process that started it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def close(self) -> None:
        """Close the pipes to the child process, which ends it, and wait for that; kill it after 3 s. Idempotent."""
        if self._listener is not None:
            self._at_end.clear()  # this end is nothing to be told
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._listener is not None:
            self._listener.join(1)  # it reads to the end: the number of a closed pipe may be another's at once
        self.after_fork()


class SimulatedClock(FeedClock):
    """The time of a simulated market that was started for this feed, and its control. Any thread, and any cell.

    While it stands, the market does: nothing is stale, no time without data counts as silence, and nothing is missed.
    The connection goes on. `catch_up` returns futures that are done when all that was sent is read.
    """

    def __init__(self, market: EmbeddedMarket, catch_up: Callable[[], Sequence[Future[None]]]) -> None:
        super().__init__(market.clock)
        self._market, self._catch_up = market, catch_up

    @property
    def start(self) -> pd.Timestamp:
        """The time at which the market began, UTC."""
        return pd.Timestamp(self._market.start // 1_000, unit="us", tz="UTC")

    @property
    def end(self) -> None:
        """None: a simulated market has no end."""
        return

    @property
    def speed(self) -> float:
        """How many times faster than real time the market goes on, or would; infinite for "max"."""
        return self._market.speed

    @property
    def is_playing(self) -> bool:
        """Whether the market goes on."""
        return self._market.is_playing

    def pause(self) -> None:
        """Stand still at this moment: at the end of the market's running turn, a twentieth of a second or less."""
        self._have("pause", at=self._market.clock.stop())

    def play(self, speed: float | str | None = None) -> None:
        """Go on from this moment, `speed` times faster than real time, "max" for as fast as possible; None as before.

        A speed above 250 is "max", as computers do not hold it. Raises UsageError for a speed that is not above 0.
        """
        wanted = self.speed if speed is None else checked_speed(speed)
        self._market.command("play", speed="max" if wanted == MAX_SPEED else wanted)

    def step(self, span: str | None = None, *, events: int | None = None) -> None:
        """Go on by a span of market time such as "1s", or by `events` received messages, and stand still there.

        "1s" without arguments. Blocks until it is there, and what was sent is read. A span is rounded up to whole turns
        of the market, and there may be some more messages than `events`: those of one event come together. Raises
        UsageError for both, for a span or number that is not above 0.
        """
        span_ns, messages = checked_step(span, events)
        self.pause()
        if messages is None:
            self._have("seek", to=self.now_ns() + span_ns)
        else:
            self._have("step", events=messages)

    def seek(self, instant: object) -> None:
        """Go to a moment: a time such as "14:31:07.5" on the clock's day, a whole time, a Timestamp, or a datetime.

        Times without zone are in `anb.settings.timezone`. Blocks until it is there, and what was sent is read; it plays
        or stands still as before. Raises UsageError for what is no time, and for one in the past.
        """
        wanted, now = instant_of(instant, self.now), self.now_ns()
        if wanted // 1_000 < now // 1_000:  # users see microseconds
            what = f"{instant} is past, at {settings.clock(now)}: a simulated market only goes forward"
            raise UsageError(what, advice="Connect anew with the same seed, or record it and move in the replay.")
        self._have("seek", to=max(wanted, now))

    def _have(self, what: str, **more: object) -> None:
        """Have the market do something, and read what it has sent by then."""
        self._market.command(what, **more)
        if not self._market.is_interrupted:
            wait(self._catch_up(), CATCH_UP_SECONDS)

    @property
    def _pace(self) -> str:
        return "paused" if not self.is_playing else "max" if self.speed == MAX_SPEED else f"× {self.speed:g}"

    def __repr__(self) -> str:
        return f"<clock of a simulated market: {self.now:%Y-%m-%d %H:%M:%S} UTC, {self._pace}>"

    def _repr_html_(self) -> str:
        advice = "Of a simulated market: .pause() .play(speed=2) .step(&quot;1s&quot;) .seek(&quot;14:31:07&quot;)"
        now = settings.clock(self.now_ns())
        return f"<p>Market time <b>{now}</b>, {self._pace}<br><small>{advice}</small></p>"


class Simulation:
    """The troubles of the simulated market that was started for a feed; `market` None for any other feed.

    Called as `feed.simulate`. Any thread.
    """

    def __init__(self, name: str, market: EmbeddedMarket | None) -> None:
        self._name = name
        self._market = market

    @overload
    def __call__(self) -> TroubleButtons: ...

    @overload
    def __call__(self, trouble: str, *, seconds: float = 5.0, symbol: str | None = None) -> None: ...

    def __call__(
        self, trouble: str | None = None, *, seconds: float = 5.0, symbol: str | None = None
    ) -> TroubleButtons | None:
        """Let a trouble happen now, for some seconds of market time; without a name, return buttons for all of them.

        `trouble` is one of "outage", "delay", "burst", "crossed book", "halt", "market halt", "missing sides",
        "stub quotes", "late prints", "corrected prints", "cancelled prints", "times ahead", "times in seconds" and
        "extreme sizes". `symbol` names one, None is for all; the first three and "market halt" are for all alone.

        While the market stands, the trouble holds, and goes on with it. Raises UsageError for a feed without an
        embedded simulated market, for an unknown trouble or symbol, for a symbol where the trouble is for all alone,
        and for seconds that are not above 0; ClosedError when the market has ended.
        """
        market = self._existing()
        if trouble is None:
            from aries_nb.widgets import TroubleButtons

            return TroubleButtons(self)
        if not isinstance(trouble, str):
            raise UsageError(f"trouble={trouble!r} is no name", advice=f"Use one of: {', '.join(market.troubles())}.")
        is_number = isinstance(seconds, Real) and not isinstance(seconds, bool) and isfinite(seconds)
        if not is_number or seconds <= 0:
            raise UsageError(f"seconds={seconds!r}", advice="Pass a number above 0, such as 5.")
        name = "" if symbol is None else checked_symbol(symbol)
        market.command("simulate", trouble=trouble, seconds=float(seconds), symbol=name)
        return None

    @property
    def troubles(self) -> Mapping[str, str]:
        """What can be simulated: each name with what happens. Raises UsageError as a call does."""
        return self._existing().troubles()

    def __repr__(self) -> str:
        return "<simulate: troubles of a simulated market>"

    def _existing(self) -> EmbeddedMarket:
        if self._market is None:
            what = f"{self._name} is no simulated market of its own: nothing can be simulated"
            raise UsageError(what, advice='Use anb.connect("sim") without url=, which starts one.')
        return self._market


def _lines(descriptor: int) -> Iterator[bytes]:
    """Read the lines that come out of a pipe, until it ends."""
    rest = b""
    while True:
        try:
            got = os.read(descriptor, 65_536)
        except OSError:  # closed by `close`, after the end of the child
            return
        if not got:
            return
        *lines, rest = (rest + got).split(b"\n")
        yield from lines


def _ended() -> ClosedError:
    return ClosedError("the simulated market has ended", advice="Connect again.")
