"""Writes a recording: a journal whose events a thread of its own encodes, writes and syncs once a second."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from aries_nb.errors import BoundToProcess, RecordingError, UsageError
from aries_nb.model.clock import elapsed
from aries_nb.model.journal import FRAME, EventGroup, Hole
from aries_nb.recording.folder import (
    DELETED,
    JSON,
    Lock,
    RecordingHeader,
    create,
    explained,
    open_new,
    read_recording_header,
    segment_name,
    segment_names,
    sync_folder,
    write_all,
    write_json,
)
from aries_nb.recording.format import BATCH_BYTES, ROW_BYTES, BatchHeader, StreamEncoder, batches_of
from aries_nb.recording.segments import CLOSED, KILLED, Segment

__all__ = ["RecordingStatistics", "RecordingWriter"]

log = logging.getLogger("aries_nb")

SYNC_SECONDS = 0.5  # with the time that a slow disk takes, an event is safe after a second
SEGMENT_SECONDS = 3600.0
SEGMENT_BYTES = 256 << 20
QUEUE_BYTES = 64 << 20
CLOSE_SECONDS = 10.0
RATE_SECONDS = 10.0
SEGMENTS_IN_ALL = 8  # where `most_bytes` is small, a segment is a share of it


@dataclass(frozen=True)
class RecordingStatistics:
    """What a recording has written; a snapshot that does not change."""

    path: Path
    rows: int
    """Events written since the recording was opened."""
    bytes: int
    """Size of all segments, those of earlier sessions included."""
    rows_per_s: float
    """Events written a second, over about the last ten seconds."""
    sync_age_s: float
    """Seconds since the last sync: what is older outlives a crash and a power cut."""
    free_bytes: int | None
    """Free space on the disk; None if it cannot be asked."""
    segments: int
    error: RecordingError | None
    """Why the recording ended, None while it runs and after `close`."""


class _Written(NamedTuple):
    """A segment that is on the disk."""

    name: str
    bytes: int
    last: BatchHeader | None


class RecordingWriter(BoundToProcess):
    """Writes the events of one feed into the recording at `path`, which it makes, or goes on with if it exists.

    It is a `Journal`: `add` and `extend` belong to the network's thread. The other methods may be called by any thread.

    `broker` is the broker's name, `header` what else is worth noting. The caller sees to it that no secret is in it,
    nor in any event: what is added is written as it is. `made` is the market time in ns at which the recording begins.
    `keep_s` deletes segments whose newest event is older by that many seconds of market time, `most_bytes` the oldest
    ones beyond that size; None keeps all. `on_error` is called once, with the error that ended the recording, on the
    writer's or the network's thread.

    Raises UsageError if `path` is something else than a recording, or one of another broker; RecordingError if it is
    being written already, has a newer format, or the disk does not allow it.
    """

    def __init__(
        self,
        path: Path,
        *,
        broker: str,
        made: int,
        header: Mapping[str, JSON] | None = None,
        keep_s: float | None = None,
        most_bytes: int | None = None,
        on_error: Callable[[RecordingError], None] | None = None,
        segment_s: float = SEGMENT_SECONDS,
        segment_bytes: int = SEGMENT_BYTES,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        self.path = path
        self.error: RecordingError | None = None
        self.hole: Hole | None = None
        """Where the recording goes on after an earlier session; its end is not yet known. None for a new recording."""
        self._keep_s, self._most_bytes = keep_s, most_bytes
        self._segment_s = segment_s
        self._segment_bytes = segment_bytes if most_bytes is None else min(segment_bytes, most_bytes // SEGMENTS_IN_ALL)
        self._queue_bytes = queue_bytes
        self._on_error = on_error
        # Of the network's thread; the writer's takes groups out of the list, and reads the others.
        self._is_open = True
        self._groups: list[EventGroup] = []
        self._added_bytes = 0
        self._wake_at = BATCH_BYTES
        # Of the writer's thread.
        self._written_bytes = 0  # of those added
        self._file = -1
        self._segment_end = 0.0
        self._current: _Written | None = None
        self._written_rows = 0
        self._is_unsynced = False
        self._synced = elapsed()
        self._rates: deque[tuple[float, int]] = deque([(elapsed(), 0)], maxlen=int(RATE_SECONDS / SYNC_SECONDS))
        with explained(path):
            if not path.exists():
                create(path, broker, header or {}, made)
            self.header = _header_of(path, broker)
            self._lock = Lock(path)
            try:
                self._open()
            except BaseException:
                self._close_files()
                raise

        self._wake = threading.Event()
        self._flushes: list[threading.Event] = []
        self._is_closing = False
        self._closing, self._failing = threading.Lock(), threading.Lock()
        self._thread = threading.Thread(target=self._run, name="aries-nb-recording", daemon=True)
        self._thread.start()
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            after_fork = weakref.WeakMethod(self._after_fork)
            os.register_at_fork(after_in_child=lambda: (run := after_fork()) and run())

    def add(self, seq: int, received: int, connection: int, what: str, body: bytes) -> None:
        """Take one event; the arguments are the fields of `Event`."""
        self.extend((received, connection, what, (seq,), (body,)))

    def extend(self, group: EventGroup) -> None:
        """Take events, as `Journal` says. Ends the recording if the disk does not follow."""
        if self._is_open:
            self._groups.append(group)
            bodies = group[4]
            self._added_bytes += sum(map(len, bodies)) + len(bodies) * ROW_BYTES
            if self._added_bytes >= self._wake_at:
                self._filled()

    def limit(self, keep_s: float | None, most_bytes: int | None) -> None:
        """Set `keep_s` and `most_bytes` where they are not None; the oldest segments go at the end of the next one."""
        self._keep_s = self._keep_s if keep_s is None else keep_s
        self._most_bytes = self._most_bytes if most_bytes is None else most_bytes

    def flush(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Wait until all that was added before is synced. Returns False if it was not, in `timeout` s or at all."""
        done = threading.Event()
        self._flushes.append(done)
        self._wake.set()
        return self._thread.is_alive() and done.wait(timeout) and self.error is None

    def close(self) -> None:
        """Write and sync what was added, and end the recording. A second call does nothing.

        Whether all is on the disk says `error`.
        """
        atexit.unregister(self.close)
        with self._closing:
            self._is_open = False
            self._is_closing = True
            self._wake.set()
            if threading.current_thread() is self._thread or not self._thread.is_alive():
                return
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                self._fail(RecordingError("the disk does not answer", where=str(self.path), advice="Check the disk."))

    def statistics(self) -> RecordingStatistics:
        """Return what has been written."""
        now, past, current = elapsed(), self._past, self._current
        since, rows = self._rates[0]
        free = None
        with suppress(OSError):
            free = shutil.disk_usage(self.path).free
        return RecordingStatistics(
            path=self.path,
            rows=self._written_rows,
            bytes=sum(segment.bytes for segment in past) + (current.bytes if current else 0),
            rows_per_s=(self._written_rows - rows) / max(now - since, SYNC_SECONDS),
            sync_age_s=now - self._synced,
            free_bytes=free,
            segments=len(past) + (current is not None),
            error=self.error,
        )

    def __repr__(self) -> str:
        state = "ended by an error" if self.error else "recording" if self._is_open else "closed"
        return f"<RecordingWriter of {str(self.path)!r}: {state}, {self._written_rows:,} events>"

    # While it is opened.

    def _open(self) -> None:
        """Begin a segment after those that are there. Raises OSError.

        Here, not in the thread of the writer, folders are synced and pandas is imported: either may take long, and
        what is added meanwhile would be older than a second before it is written.
        """
        self._past = _past_segments(self.path, self.header)
        self._resume()
        self._delete_old()
        encoder = StreamEncoder(self.header.id, self._session, self._latest)
        encoder.encode([(0, 0, FRAME, (0,), (b"",))], 1, 0)  # for nothing: pyarrow imports pandas with the first
        self._begin_segment()  # also if nothing will be added: its end says whether the recording was closed

    def _resume(self) -> None:
        """Go on after what is there: cut an incomplete end, and find the numbers."""
        names = [segment.name for segment in self._past]
        self._segment_number = int(names[-1].partition(".")[0]) if names else 0
        last = next((segment.last for segment in reversed(self._past) if segment.last), None)
        self._number = last.number if last else 0
        self._rows_before = last.before + last.rows if last else 0
        self._session = last.session + 1 if last else 1
        self._latest = last.latest if last else 0
        if last is None:
            return
        with Segment(self.path / names[-1], self.header.id) as segment:
            is_ended, batch = segment.is_ended, segment.last()
            end = batch.message.end if batch else 0
        if not is_ended:
            os.truncate(self.path / names[-1], end)
            self._past[-1] = self._past[-1]._replace(bytes=end)
        self.hole = Hole(CLOSED if is_ended else KILLED, last.seq[1], last.received[1], None, None)

    def _delete_old(self) -> None:
        """Delete the oldest segments beyond `keep_s` and `most_bytes`, never the newest one. Raises OSError."""
        newest = max((segment.last.received[1] for segment in self._past if segment.last), default=0)
        while len(self._past) > 1:
            oldest = self._past[0]
            age_s = (newest - oldest.last.received[1]) / 1e9 if oldest.last else 0.0
            room = None if self._most_bytes is None else self._most_bytes - self._segment_bytes
            if self._keep_s is not None and age_s > self._keep_s:
                reason = "deleted by keep"
            elif room is not None and sum(segment.bytes for segment in self._past) > room:
                reason = "deleted by max_gb"
            else:
                return
            if oldest.last:  # noted first: a crash in between leaves a segment more, not a hole without a reason
                write_json(self.path / DELETED, {"number": oldest.last.number, "reason": reason})
            (self.path / oldest.name).unlink()
            self._past = self._past[1:]

    # The network's thread.

    def _filled(self) -> None:
        self._wake_at = self._added_bytes + BATCH_BYTES
        if self._added_bytes - self._written_bytes > self._queue_bytes:
            self._fail(
                RecordingError(
                    f"the disk is too slow: {self._queue_bytes >> 20} MB wait to be written",
                    where=str(self.path),
                    advice="Record to a faster disk, or fewer symbols.",
                )
            )
        self._wake.set()

    # The writer's thread.

    def _run(self) -> None:
        try:
            with explained(self.path):
                while not self._is_closing or self._groups:
                    self._wake.wait(max(0.0, self._synced + SYNC_SECONDS - elapsed()))
                    self._wake.clear()
                    self._step()
                    if self.error is not None:
                        return
                if self.error is None:
                    self._end_segment()
        except RecordingError as error:
            self._fail(error)
        except Exception as error:  # the border of the thread; an event that is none among the reasons
            log.exception("the recording failed")
            self._fail(RecordingError(f"an event could not be recorded: {error}", where=str(self.path)))
        finally:
            self._close_files()
            for flush in self._flushes:
                flush.set()

    def _step(self) -> None:
        flushes = self._flushes[:]
        is_due = bool(flushes) or self._is_closing or elapsed() - self._synced >= SYNC_SECONDS
        added = self._added_bytes
        if is_due or added - self._written_bytes >= BATCH_BYTES:
            for groups in self._take():
                if self.error is not None:
                    return
                self._write(groups)
            self._written_bytes = added
        if not is_due:
            return
        if self._is_unsynced:
            os.fsync(self._file)
            if not os.fstat(self._file).st_nlink:
                raise RecordingError("the recording's file was deleted while it was written", where=str(self.path))
            self._is_unsynced = False
        self._synced = elapsed()
        self._rates.append((self._synced, self._written_rows))
        del self._flushes[: len(flushes)]
        for flush in flushes:
            flush.set()
        if self._current and (elapsed() >= self._segment_end or self._current.bytes >= self._segment_bytes):
            self._end_segment()
            self._delete_old()
            self._begin_segment()

    def _take(self) -> Iterable[list[EventGroup]]:
        """Take what is in the queue, as one batch or, where it is more than two, as batches."""
        groups = self._groups[:]  # copied and deleted in one step each: the other thread appends meanwhile
        del self._groups[: len(groups)]
        size = self._added_bytes - self._written_bytes  # asked now: much may have come since the step began
        return batches_of(groups) if size > 2 * BATCH_BYTES else [groups] if groups else ()

    def _write(self, groups: list[EventGroup]) -> None:
        current = self._current
        assert current is not None, "begun with the recording, and where the last one ended"
        data, header = self._encoder.encode(groups, self._number + 1, self._rows_before)
        try:
            write_all(self._file, data)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, current.bytes)  # so that no half of a batch is left where there is no room
            raise
        self._number += 1
        self._rows_before += header.rows
        self._written_rows += header.rows
        self._is_unsynced = True
        self._latest = header.latest
        self._current = current._replace(bytes=current.bytes + len(data), last=header)

    def _begin_segment(self) -> None:
        self._segment_number += 1
        name = segment_name(self._segment_number)
        self._file = open_new(self.path / name)
        sync_folder(self.path)
        self._encoder = StreamEncoder(self.header.id, self._session, self._latest)
        self._segment_end = elapsed() + self._segment_s
        self._current = _Written(name, 0, None)

    def _end_segment(self) -> None:
        current = self._current
        if current is None:
            return
        end = self._encoder.end()
        write_all(self._file, end)
        os.fsync(self._file)
        os.close(self._file)
        self._file, self._current = -1, None
        self._past = [*self._past, current._replace(bytes=current.bytes + len(end))]

    def _close_files(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            with suppress(OSError):
                os.close(file)
        self._lock.release()

    def _after_fork(self) -> None:
        """Take no part in a forked child process, which has copies of the files but no writer's thread."""
        self._is_open = False
        self._groups.clear()
        self._closing = self._failing = threading.Lock()
        self._close_files()

    # Any thread.

    def _fail(self, error: RecordingError) -> None:
        """End the recording with an error, once. What was synced stays valid."""
        self._is_open = False
        with self._failing:
            if self.error is not None:
                return
            self.error = error
        self._groups.clear()
        self._is_closing = True
        self._wake.set()
        log.error("the recording ended: %s", error)
        if self._on_error is not None:
            try:
                self._on_error(error)
            except Exception:  # the border to other rooms' code
                log.exception("a callback of the recording raised")


def _header_of(path: Path, broker: str) -> RecordingHeader:
    header = read_recording_header(path)
    if header.broker != broker:
        raise UsageError(
            f"this is a recording of {header.broker!r}, not of {broker!r}",
            where=str(path),
            advice="Record to another path.",
        )
    return header


def _past_segments(path: Path, header: RecordingHeader) -> list[_Written]:
    found = []
    for name in segment_names(path):
        with Segment(path / name, header.id) as segment:
            last = segment.last()
            found.append(_Written(name, segment.bytes, last.header if last else None))
    return found
