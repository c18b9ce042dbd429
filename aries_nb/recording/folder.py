"""The folder of a recording: its files, who may read them, and the lock that keeps a second writer out.

recording.json    what is recorded; written once
lock              locked by the process that writes
000001.arrows …   the events, layer 1: segments, each an Arrow IPC stream
deleted.json      which events were deleted with the oldest segments
tables/           the rows in Parquet, layer 2

A recording may come from a stranger: no link is followed, only regular files are opened, and all sizes have bounds.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TypeAlias

from aries_nb.errors import RecordingError, UsageError
from aries_nb.recording.format import FORMAT
from aries_nb.recording.remote import OpenFile, Place, RemoteFile, RemotePath

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = [
    "DELETED",
    "JSON",
    "LocalFile",
    "Lock",
    "RecordingHeader",
    "checked",
    "create",
    "explained",
    "is_recording",
    "open_new",
    "read_json",
    "read_recording_header",
    "segment_name",
    "segment_names",
    "segment_sizes",
    "source_of",
    "sync_folder",
    "write_all",
    "write_json",
]

JSON: TypeAlias = "str | int | float | bool | list[JSON] | dict[str, JSON] | None"

HEADER, LOCK, DELETED = "recording.json", "lock", "deleted.json"
SEGMENT = re.compile(r"\d{6}\.arrows")
MOST_JSON_BYTES = 4 << 20
MOST_FILES = 100_000
MOST_TEXT = 200
FOLDER_MODE, FILE_MODE = 0o700, 0o600
# No link is followed, and a pipe is not waited for; Windows has neither.
SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True)
class RecordingHeader:
    """What a recording says of itself, in the file recording.json."""

    format: int
    """Version of the format."""
    id: str
    """Random, of this recording alone."""
    broker: str
    made: int
    """Market time at which it was begun, in ns since the epoch."""
    package: str
    """Version of this package that began it."""
    header: Mapping[str, JSON]
    """What the caller noted. Nothing is taken out of it: the caller sees to it that no secret is in it."""


def create(path: Path, broker: str, header: Mapping[str, JSON], made: int) -> None:
    """Make the folder of a new recording, whole or not at all.

    Does nothing if another process was first. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    made_folder = Path(tempfile.mkdtemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent))
    try:
        made_folder.chmod(FOLDER_MODE)
        own = RecordingHeader(FORMAT, secrets.token_hex(8), broker, made, metadata.version("aries_nb"), header)
        write_json(made_folder / HEADER, asdict(own))
        try:
            made_folder.rename(path)
        except OSError:
            if not is_recording(path):
                raise
        sync_folder(path.parent)
    finally:
        if made_folder.exists():
            (made_folder / HEADER).unlink(missing_ok=True)
            made_folder.rmdir()


def is_recording(path: Place) -> bool:
    """Return whether there is a folder with the header of a recording."""
    return (path / HEADER).is_file()


def read_recording_header(path: Place) -> RecordingHeader:
    """Return what the recording says of itself.

    Raises UsageError if there is no recording, RecordingError if it has a newer format or its header is damaged.
    """
    with explained(path):
        is_there, is_one = path.exists(), is_recording(path)
    if not is_there:
        raise UsageError("there is no recording", where=str(path), advice="Check the path.")
    if not is_one:
        raise UsageError(
            "this is not a recording", where=str(path), advice=f"A recording is a folder with a file {HEADER}."
        )
    found = read_json(path / HEADER)
    version = found.get("format")
    if type(version) is int and version > FORMAT:
        raise RecordingError(
            f"the recording has format {version}, this version of aries_nb reads up to {FORMAT}",
            where=str(path),
            advice="Update it: pip install --upgrade aries_nb.",
        )
    found = checked(path / HEADER, found)
    fields = RecordingHeader.__dataclass_fields__
    kinds = {"format": int, "id": str, "broker": str, "made": int, "package": str, "header": dict}
    is_whole = found.keys() == fields.keys() and all(type(found[name]) is kind for name, kind in kinds.items())
    texts = [found.get(name) for name, kind in kinds.items() if kind is str]
    if not is_whole or not all(isinstance(text, str) and len(text) <= MOST_TEXT for text in texts):
        raise _damaged(path / HEADER)
    return RecordingHeader(**found)  # type: ignore[arg-type]


def read_json(path: Place) -> dict[str, JSON]:
    """Return the object in a small JSON file, whose checksum is looked at by `checked`.

    Raises RecordingError where there is none.
    """
    with explained(path), source_of(path) as source:
        if source.size > MOST_JSON_BYTES:
            raise _damaged(path)
        text = source.read(0, source.size)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(found, dict):
        raise _damaged(path)
    return found


def checked(path: Place, content: dict[str, JSON]) -> dict[str, JSON]:
    """Return the content without its checksum. Raises RecordingError if that is wrong."""
    crc = content.pop("crc", None)
    if crc != _checksum(content):
        raise _damaged(path)
    return content


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a small JSON file with a checksum, whole or not at all. Raises OSError."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    file = open_new(part)
    try:
        write_all(file, json.dumps({**content, "crc": _checksum(content)}, indent=1).encode())
        os.fsync(file)
    finally:
        os.close(file)
    part.replace(path)
    sync_folder(path.parent)


def open_new(path: Path) -> int:
    """Make a file that only its owner may read, and return its descriptor. Raises OSError, also if it exists."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, FILE_MODE)
    if hasattr(os, "fchmod"):
        os.fchmod(file, FILE_MODE)  # whatever the umask
    return file


def write_all(file: int, data: bytes) -> None:
    """Write all bytes to a descriptor. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def sync_folder(path: Path) -> None:
    """Have the names of new and deleted files outlive a power cut. Windows has no such call."""
    if sys.platform != "win32":
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def segment_names(path: Place) -> list[str]:
    """Return the names of the segments, in their order. Raises RecordingError for more files than are ever made."""
    return sorted(segment_sizes(path))


def segment_sizes(path: Place) -> dict[str, int]:
    """Return the size of each segment, by its name. Raises RecordingError as `segment_names` does."""
    found = {}
    with explained(path):
        children: Iterable[Place] = path.iterdir()
        for count, each in enumerate(children):
            if count >= MOST_FILES:
                raise RecordingError(f"the recording has more than {MOST_FILES:,} files", where=str(path))
            if SEGMENT.fullmatch(each.name) and each.is_file() and not each.is_symlink():
                with suppress(FileNotFoundError):  # its writer has deleted it meanwhile
                    found[each.name] = each.size if isinstance(each, RemotePath) else each.stat().st_size
    return found


def segment_name(number: int) -> str:
    """Return the name of the segment with this number."""
    return f"{number:06}.arrows"


class LocalFile(OpenFile):
    """A regular file. Raises OSError if it cannot be opened, also for a link, a pipe or a device."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | SAFE)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "this is no regular file")
        super().__init__(open(descriptor, "rb", buffering=0), status.st_size)  # noqa: SIM115 - closed by `close`


def source_of(path: Place) -> OpenFile:
    """Open a file to be read at any place. Raises OSError."""
    return RemoteFile(path) if isinstance(path, RemotePath) else LocalFile(path)


class Lock:
    """The right to write a recording, which one process has at a time. It ends with the process, however that ends.

    Raises RecordingError if another writer has it, OSError if the file cannot be opened. `is_patient` waits for it.
    """

    def __init__(self, path: Path, *, is_patient: bool = False) -> None:
        self._file = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | SAFE, FILE_MODE)
        try:
            if hasattr(os, "fchmod"):
                os.fchmod(self._file, FILE_MODE)
            if sys.platform == "win32":
                msvcrt.locking(self._file, msvcrt.LK_LOCK if is_patient else msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(self._file, fcntl.LOCK_EX | (0 if is_patient else fcntl.LOCK_NB))
        except OSError as error:
            os.close(self._file)
            raise RecordingError(
                "the recording is being written by another feed or process",
                where=str(path),
                advice="Close that one, or record to another path.",
            ) from error

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def release(self) -> None:
        """Let the next writer have it. In a forked child process the parent keeps it."""
        with suppress(OSError):
            os.close(self._file)


@contextmanager
def explained(path: Place) -> Iterator[None]:
    """Turn an OSError inside into a RecordingError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            what, advice = "there is no room on the disk", "Free some, or record to another disk."
        elif error.errno in FORBIDDEN:
            what, advice = "the recording's folder does not allow it", "Check who owns the folder, and its permissions."
        else:
            what, advice = f"a file of the recording failed: {error.strerror or error}", ""
        raise RecordingError(what, where=str(path), advice=advice) from error


def _checksum(content: Mapping[str, object]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _damaged(path: Place) -> RecordingError:
    return RecordingError("a file of the recording is damaged", where=str(path))
