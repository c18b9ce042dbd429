"""Paths on other machines: recordings on any file system of fsspec, such as "s3://days/today.anb", which are only read.

What of `pathlib.Path` readers of recordings use, `RemotePath` has too; `place_of` returns the one or the other.
"""

from __future__ import annotations

import errno
import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeAlias

from aries_nb.errors import UsageError

__all__ = ["OpenFile", "Place", "RemoteFile", "RemotePath", "arrow_place", "place_of"]

WINDOW_BYTES = 65_536


class RemotePath:
    """A file or folder of a file system of fsspec. Any thread; methods raise OSError as those of Path do."""

    def __init__(self, filesystem: Any, path: str, kind: str | None = None, size: int = 0) -> None:  # noqa: ANN401 - an optional package
        self.filesystem = filesystem
        self.path = path.rstrip("/")
        """The path as the file system has it, without its protocol."""
        self._kind = kind
        self.size = size
        """The size of the file as it was when its folder was listed; 0 elsewhere."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def protocol(self) -> str:
        """The protocol of the file system, such as "s3"."""
        return str(self).partition("://")[0]

    @property
    def suffix(self) -> str:
        """The end of the name from its last point on."""
        return Path(self.name).suffix

    def exists(self) -> bool:
        """Return whether there is a file or folder."""
        with _as_os_errors():
            return bool(self.filesystem.exists(self.path))

    def is_file(self) -> bool:
        """Return whether this is a file."""
        with _as_os_errors():
            return self._kind == "file" if self._kind else bool(self.filesystem.isfile(self.path))

    def is_dir(self) -> bool:
        """Return whether this is a folder."""
        with _as_os_errors():
            return self._kind == "directory" if self._kind else bool(self.filesystem.isdir(self.path))

    def is_symlink(self) -> bool:
        """Return False: such file systems have no links."""
        return False

    def iterdir(self) -> Iterator[RemotePath]:
        """Yield what is in this folder, as it is now."""
        with _as_os_errors():
            self.filesystem.invalidate_cache(self.path)
            found = self.filesystem.ls(self.path, detail=True)
        for each in found:
            child = RemotePath(self.filesystem, str(each["name"]), str(each["type"]), int(each["size"] or 0))
            if child.path != self.path:  # which some list as a part of itself
                yield child

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self.filesystem, f"{self.path}/{name}")

    def __lt__(self, other: RemotePath) -> bool:
        return self.path < other.path

    def __str__(self) -> str:
        return str(self.filesystem.unstrip_protocol(self.path))

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"  # without the file system, which may show keys


Place: TypeAlias = Path | RemotePath


class OpenFile:
    """An open file, read at any place; its size is that at the time of opening. A context manager.

    Used by one thread at a time. `file` reads from its position on, and returns less than is asked for only at its end.
    """

    def __init__(self, file: Any, size: int) -> None:  # noqa: ANN401 - a file of an optional package, or of io
        self._file = file
        self.size = size
        self._window, self._start = b"", 0

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset` on, fewer at the end. Raises OSError."""
        count = min(count, self.size - offset)
        if offset < 0 or count <= 0:
            return b""
        place = offset - self._start
        if place >= 0 and place + count <= len(self._window):
            return self._window[place : place + count]
        with _as_os_errors():
            self._file.seek(offset)
            data = bytes(self._file.read(min(max(count, WINDOW_BYTES), self.size - offset)) or b"")
        if count <= WINDOW_BYTES:
            self._window, self._start = data, offset
        return data[:count]

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class RemoteFile(OpenFile):
    """The same of a remote file. Raises OSError if it cannot be opened."""

    def __init__(self, path: RemotePath) -> None:
        with _as_os_errors():
            if path.filesystem.isdir(path.path):
                raise OSError(errno.EISDIR, "this is a folder")
            file = path.filesystem.open(path.path, "rb", cache_type="none")
            super().__init__(file, int(file.seek(0, 2)))


def place_of(path: str | Path, storage_options: Mapping[str, Any] | None = None) -> Place:
    """Return the place of a path, or of the URL of a file system of fsspec, which gets `storage_options`.

    Raises UsageError where fsspec, or what it needs for this protocol, is not installed or refuses the options.
    """
    if "://" not in str(path):
        if storage_options:
            raise UsageError("storage_options are for a URL", where=str(path), advice='Pass one such as "s3://days".')
        return Path(path)
    try:
        url_to_fs = importlib.import_module("fsspec.core").url_to_fs
    except ImportError as error:
        raise UsageError("fsspec is not installed", advice="Install it: pip install 'aries_nb[analysis]'.") from error
    protocol = str(path).partition("://")[0]
    try:
        filesystem, own = url_to_fs(str(path), **(storage_options or {}))
    except Exception as error:  # the border to packages of others; the options may have keys, and are not shown
        what = f"files of {protocol!r} cannot be opened ({type(error).__name__})"
        advice = f"Install what fsspec needs for {protocol}://, and check storage_options."
        raise UsageError(what, advice=advice) from error
    return Path(own) if protocol in ("file", "local") else RemotePath(filesystem, own)


def arrow_place(place: Place) -> tuple[str, Any]:
    """Return path and file system as pyarrow takes them; the latter is None for a local file."""
    return (place.path, place.filesystem) if isinstance(place, RemotePath) else (str(place), None)


@contextmanager
def _as_os_errors() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # the border to packages of others, which have errors of their own
        raise OSError(errno.EIO, f"{type(error).__name__}: {str(error)[:200]}") from error
