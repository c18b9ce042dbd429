"""`feed.record`: a recording that runs, of all that a feed receives and does."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from itertools import chain
from numbers import Real
from pathlib import Path
from typing import Any

from msgspec.json import decode

from aries_nb.brokers import Broker, Endpoint, broker_named
from aries_nb.errors import BoundToProcess, RecordingError, UsageError
from aries_nb.live.arguments import checked_span_ns
from aries_nb.live.gap_fill import GapFill
from aries_nb.live.recordings.capture import capture, checked_notebook
from aries_nb.model import Checkpointed, Column, Subscription
from aries_nb.model.journal import HOLE, Event, EventGroup, Hole, events_of
from aries_nb.net.background import Background
from aries_nb.net.events.answers import ANSWER, Answer
from aries_nb.net.events.arrivals import Arrivals, EventRing
from aries_nb.net.events.notes import StateNotes
from aries_nb.net.events.playback_run import Begin, Passing, replayed
from aries_nb.net.http_client import NoHttp
from aries_nb.net.intake import Route
from aries_nb.net.redaction import FrameMask
from aries_nb.recording import RecordingReader, RecordingStatistics, RecordingWriter
from aries_nb.store import GapLog, RollingFrame

__all__ = ["RecordedDay", "Recorder", "Recording", "broker_of", "checked_path", "endpoints_of", "frames_of", "passing"]

GB = 10**9
SUBSCRIBED = frozenset({"session", "subscribe", "again"})
MOST_PAST = 1_000_000  # rows of a recording with which a feed begins, of each kind


class Recording(BoundToProcess):
    """A recording that a feed writes: every frame as received, and what was done to its connections. Any thread.

    It is written once a second, and outlives a crash of the process up to then. Tokens are in no part of it. A context
    manager: leaving the block ends the recording, and the feed goes on.
    """

    def __init__(self, writer: RecordingWriter, arrivals: Arrivals) -> None:
        self._writer = writer
        self._arrivals = arrivals
        self._journal = _Masked(writer, arrivals.mask)

    @property
    def path(self) -> Path:
        """The folder of the recording."""
        return self._writer.path

    @property
    def is_open(self) -> bool:
        """Whether it is being written: neither closed nor ended by an error."""
        return self._journal in self._arrivals.journals and self._writer.error is None

    @property
    def is_from_the_beginning(self) -> bool:
        """Whether it does not go on with a recording of an earlier feed."""
        return self._writer.hole is None

    @property
    def error(self) -> RecordingError | None:
        """What ended it, such as a full disk; None while it runs and after `close`. The feed goes on."""
        return self._writer.error

    def stats(self) -> RecordingStatistics:
        """Return its size, its rate, the age of the last sync, and the free space on the disk."""
        return self._writer.statistics()

    def flush(self, timeout: float = 10.0) -> None:
        """Wait until all that was received before is on the disk; RecordingError if it is not within `timeout` s."""
        if not self._writer.flush(timeout):
            raise self._writer.error or RecordingError("the disk does not answer", where=str(self.path))

    def limit(self, keep_s: float | None, most_bytes: int | None) -> None:
        """Delete the oldest parts from now on, where these are not None; see `RecordingWriter`."""
        self._writer.limit(keep_s, most_bytes)

    def close(self) -> None:
        """Write what was received so far, and end the recording; idempotent. The feed goes on."""
        self._arrivals.do(self._detach).result()
        self._writer.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<recording {self.path}: {self._state}, {self.stats().rows:,} events, {_size(self.stats().bytes)}>"

    def _repr_html_(self) -> str:
        now = self.stats()
        free = "unknown" if now.free_bytes is None else _size(now.free_bytes)
        rows = {
            "state": self._state,
            "events": f"{now.rows:,}",
            "size": _size(now.bytes),
            "events a second": f"{now.rows_per_s:,.0f}",
            "last sync": f"{now.sync_age_s:.1f} s ago",
            "free on the disk": free,
        }
        cells = "".join(f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in rows.items())
        return f"<table><caption>{html.escape(str(self.path))}</caption>{cells}</table>"

    @property
    def _state(self) -> str:
        return str(self.error) if self.error is not None else "recording" if self.is_open else "closed"

    def attach(self, groups: Iterable[EventGroup]) -> None:
        """Begin with these events, and get all that follow; the network's thread only."""
        for group in groups:
            self._journal.extend(group)
        self._arrivals.journals = (*self._arrivals.journals, self._journal)

    def _detach(self) -> None:
        self._arrivals.journals = tuple(each for each in self._arrivals.journals if each is not self._journal)


class _Masked:
    """A journal that passes events on to a writer without tokens."""

    def __init__(self, writer: RecordingWriter, mask: FrameMask) -> None:
        self._extend, self._mask = writer.extend, mask

    def extend(self, group: EventGroup) -> None:
        """Pass events on; see `Journal`."""
        received, connection, what, seqs, bodies = group
        mask = self._mask
        kept = mask.all(bodies) if what != ANSWER else [_masked(what, body, mask) for body in bodies]
        self._extend((received, connection, what, seqs, kept))


def _masked(what: str, body: bytes, mask: FrameMask) -> bytes:
    """Return the body of an event without tokens. That of an HTTP answer has the lengths of its parts."""
    kept = mask(body)
    return mask(Answer.from_bytes(body).masked(mask).to_bytes()) if what == ANSWER and kept is not body else kept


class Recorder:
    """The recordings of one feed, by path. Any thread.

    `choices` say how it was chosen; `report` gets what ends a recording. The newest events are kept in memory, so that
    a recording that is made later begins with them. `parts` are those of `Playback`, to which more may be added.
    """

    def __init__(
        self,
        broker: Broker,
        arrivals: Arrivals,
        choices: Mapping[str, str],
        report: Callable[[str], None],
        parts: list[Checkpointed],
    ) -> None:
        self._broker, self._choices, self._report = broker.name, dict(choices), report
        self._own = broker
        self._arrivals = arrivals
        self._ring = EventRing()
        if not arrivals.is_replay:
            arrivals.journals = (self._ring,)
        self.parts = parts
        self.notes = StateNotes(arrivals, parts, self._is_noting)
        self._recordings: dict[Path, Recording] = {}
        self._guard = threading.Lock()

    def record(self, path: Path, *, keep: str | None = None, max_gb: float | None = None) -> Recording:
        """Return the recording at `path` that runs, or begin one with the events in memory, which must be all."""
        keep_s = None if keep is None else checked_span_ns(keep, "keep") / 1e9
        if max_gb is not None and (isinstance(max_gb, bool) or not isinstance(max_gb, Real) or not max_gb > 0):
            raise UsageError(f"max_gb={max_gb!r} is no size", advice="Give gigabytes, a number above 0.")
        with self._guard:
            known = self._recordings.get(path)
            if known is not None and known.is_open:
                known.limit(keep_s, None if max_gb is None else int(max_gb * GB))
                return known
            if path.exists() and RecordingReader(path, broker=self._broker).summary.events:
                what = "there is a recording already, of another feed or of this one before"
                advice = "Choose another path; to go on with it, connect with record=… and this path."
                raise UsageError(what, where=str(path), advice=advice)
            writer = self._writer(path, keep_s=keep_s, most_bytes=None if max_gb is None else int(max_gb * GB))
            recording = Recording(writer, self._arrivals)
            try:
                self._arrivals.do(lambda: self._begin(recording)).result()
            except BaseException:
                writer.close()
                raise
            self._recordings[path] = recording
            return recording

    def resume(self, path: Path, endpoints: Mapping[str, Endpoint], gaps: GapLog) -> dict[str, list[list[Route]]]:
        """Begin to record before the feed connects, or go on with the recording that is there.

        Returns the routes to frames with the rows that it has, by endpoint: a list for each frame. Its gaps are in
        `gaps` then, with that since its end.
        """
        writer = self._writer(path)
        recording = self._recordings[path] = Recording(writer, self._arrivals)
        recording.attach(())
        try:
            return {} if writer.hole is None else self._past(path, writer.hole, endpoints, gaps)
        except BaseException:  # else no feed of this process could write to it
            recording.close()
            raise

    def _past(
        self, path: Path, hole: Hole, endpoints: Mapping[str, Endpoint], gaps: GapLog
    ) -> dict[str, list[list[Route]]]:
        events = RecordingReader(path, broker=self._broker).events
        frames = frames_of(events(whats=SUBSCRIBED), endpoints, self._arrivals.clock.now_ns)
        routes = [route for some in frames.values() for each in some for route in each]
        past = chain((event for event in events() if event.what != HOLE or Hole.of(event).next_seq), [hole.event()])
        passed = passing(self._own, str(path), gaps)(past, routes, None)
        self._arrivals.next = Background.shared().submit(passed).result()
        return frames

    def capture(self, path: object, last: str, accounts: Iterable[str]) -> Path:
        """Write a notebook of the last span of time, with the recording that runs beside it, or the events in memory.

        `accounts` are the user's known ones. Returns the notebook's path. See `Feed.capture`.
        """
        notebook, last_ns = checked_notebook(path), checked_span_ns(last, "last")
        running = next((each for each in list(self._recordings.values()) if each.is_open), None)
        if running is not None:
            running.flush()
            events: Callable[[], Iterable[Event]] = RecordingReader(running.path).events
        else:
            held = self._arrivals.do(lambda: self._ring.events if self._ring.is_whole else None).result()
            if held is None:
                advice = "Record it from its beginning: `anb.connect(…, record=…)`."
                raise UsageError("the feed has received more than is in memory", advice=advice)
            mask = self._arrivals.mask
            events = lambda: (Event(*each[:4], _masked(each[3], each[4], mask)) for each in held)  # noqa: E731
        choices = self._choices
        capture(events, notebook, broker=self._broker, choices=choices, accounts=accounts, last_ns=last_ns)
        return notebook

    def _is_noting(self) -> bool:
        """Whether a recording is written of a feed that has nothing of before, from its beginning on."""
        recordings = list(self._recordings.values())
        return all(each.is_from_the_beginning for each in recordings) and any(each.is_open for each in recordings)

    def close(self) -> None:
        """End all recordings of the feed."""
        for recording in list(self._recordings.values()):
            recording.close()

    def _writer(self, path: Path, *, keep_s: float | None = None, most_bytes: int | None = None) -> RecordingWriter:
        return RecordingWriter(
            path,
            broker=self._broker,
            made=self._arrivals.clock.now_ns(),
            header={"choices": {**self._choices}},
            keep_s=keep_s,
            most_bytes=most_bytes,
            on_error=lambda error: self._report(f"the recording ended: {error}"),
        )

    def _begin(self, recording: Recording) -> None:
        if not self._ring.is_whole:
            advice = "Record it from its beginning: `anb.connect(…, record=…)`."
            raise UsageError("the feed has received too much to be recorded from here on", advice=advice)
        recording.attach(self._ring.groups)


def frames_of(
    events: Iterable[Event], endpoints: Mapping[str, Endpoint], clock: Callable[[], int]
) -> dict[str, list[list[Route]]]:
    """Return routes to empty frames for all recorded quotes and trades, a list for each frame, by endpoint.

    There is a frame for each kind, fields and options.
    """
    named: dict[int, str] = {}
    alike: dict[tuple[str, object], dict[Subscription, None]] = {}
    for event in events:
        if event.what == "session":
            named[event.connection] = decode(event.body, type=tuple[str, int])[0]
        elif event.what in ("subscribe", "again"):
            if event.what == "subscribe":
                asked = decode(event.body, type=tuple[Subscription, ...])
            else:
                named[event.connection], _, asked = decode(event.body, type=tuple[str, int, tuple[Subscription, ...]])
            for each in asked:
                name = named.get(event.connection, "")
                if name in endpoints and each.kind in ("quotes", "trades"):
                    alike.setdefault((name, (each.kind, each.fields, each.options)), {})[each] = None
    found: dict[str, list[list[Route]]] = {}
    for (name, _), subscriptions in alike.items():
        first, *_ = subscriptions
        types = endpoints[name].columns[first.kind]
        columns = [Column(field, types[field]) for field in first.fields]
        frame = RollingFrame(columns, [each.symbol for each in subscriptions], limit=MOST_PAST, clock=clock)
        found.setdefault(name, []).append([Route(each, frame, code) for code, each in enumerate(subscriptions)])
    return found


class RecordedDay:
    """What is played back of a recording: all that it had when it was opened. Raises what `RecordingReader` raises."""

    def __init__(self, reader: RecordingReader) -> None:
        summary = reader.summary
        if summary.first_received is None or summary.last_received is None:
            raise RecordingError("the recording is empty", where=str(reader.path), advice="Record for a while.")
        self.first, self.last = summary.first_received, summary.last_received
        self._reader = reader
        holes = reader.holes_between_segments()
        self._end = holes[-1] if holes and holes[-1].next_seq is None else None  # it was not closed

    def events(self, *, whats: frozenset[str], start: int | None = None, until: int | None = None) -> Iterator[Event]:
        """Yield the events of some kinds, from the first one at `start` (ns) on; those after `until` may be missing."""
        return self._reader.events(start, whats=whats, until=until)

    def groups(self, *, start: int | None = None) -> Iterator[EventGroup]:
        """Yield the events, the same at each call, whatever was recorded since.

        With `start`, a time in ns, they begin with the first one at that time or later, and a hole before it.
        """
        for group in self._reader.groups(start):
            if group[2] == HOLE and Hole.of(next(events_of(group))).next_seq is None:
                break
            yield group
        if self._end is not None:
            yield self._end.group()


def broker_of(reader: RecordingReader, own: Broker | None = None) -> Broker:
    """Return the broker of a recording as it was chosen; `own` is that of the user, None for one by name."""
    known = own or broker_named(reader.header.broker)
    chosen = reader.header.header.get("choices")
    if own is None and known.choose is not None and isinstance(chosen, Mapping):
        known = known.choose(**{name: each for name, each in chosen.items() if name in known.choices})
    return known


def passing(broker: Broker, where: str, gaps: GapLog | None = None) -> Passing:
    """Return a function that passes recorded events, also HTTP answers with missing trades, to the stores of routes.

    `gaps` is the log of gaps, None for one of no interest.
    """

    def passed(events: Iterable[Event], routes: Iterable[Route], begin: Begin = None) -> Coroutine[Any, Any, int]:
        log = GapLog() if gaps is None else gaps
        to_log = lambda name, number: log.stream(name).of_connection(number)  # noqa: E731
        filling: Any = lambda arrivals: GapFill.of(NoHttp(where), broker, arrivals, lambda _: None).start  # noqa: E731
        return replayed(events, endpoints_of(broker), to_log, routes, where=where, filling=filling, begin=begin)

    return passed


def endpoints_of(broker: Broker) -> dict[str, Endpoint]:
    """Return the endpoints of a broker by the names that its recordings have for them."""
    own = {} if broker.accounts is None else {"accounts": broker.accounts}
    return {"market": broker.market, **broker.sources, **own}


def checked_path(path: object) -> Path:
    """Return the path of a recording, absolute. Raises UsageError for anything else."""
    if not isinstance(path, str | Path) or not str(path).strip() or "\0" in str(path):
        raise UsageError(f"{path!r} is no path", advice='Pass a path such as "today.anb".')
    if "://" in str(path):
        raise UsageError(f"{path!r} is no path", advice="Record to a disk or shared folder, and copy it there later.")
    return Path(path).expanduser().resolve()


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1_000:
            return f"{count:.3g} {unit}"
        count /= 1_000
    return f"{count:,.3g} GB"
