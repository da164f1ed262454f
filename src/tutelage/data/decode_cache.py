"""Datasets decoded from the user's files, shared within a process as long as the files stay unchanged."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from tutelage.data.dataset import Splits
from tutelage.data.npz import MAX_BYTES
from tutelage.data.shards import CLASSES

_FOLDER_DEPTH = 4  # <wrapper>/train/<class>/<file>: what lies deeper belongs to no dataset
Value = TypeVar("Value")


class FileCache(Generic[Value]):
    """What was read from files, by the present state of the files.

    At most ``limit`` values stay in memory, fewer if they exceed ``MAX_BYTES`` together.
    """

    def __init__(self, limit: int, size: Callable[[Value], int] = lambda _: 0) -> None:
        self.limit, self.size = limit, size
        self._lock = threading.RLock()  # reading a dataset reads its listing
        self._values: dict[str, Value] = {}  # by state of the files, the least recently used first

    def once(self, path: Path, read: Callable[[Path], Value], key: str = "") -> Value:
        """Return ``read(path)``, or what it returned before with this key if the files are still the same.

        The values are shared by all callers, who must not modify them.

        Errors: those of ``read``.
        """
        with self._lock:
            state = file_state(path)
            name = f"{state} {key}"
            if state is not None and name in self._values:
                self._values[name] = value = self._values.pop(name)
                return value
            self._evict(self.limit - 1)  # before reading, so that no more than the limit are ever in memory
            value = read(path)
            if state is not None and state == file_state(path):  # else the files changed while they were read
                self._values[name] = value
                self._evict(self.limit)
            return value

    def clear(self) -> None:
        """Drop all values."""
        with self._lock:
            self._values.clear()

    def _evict(self, limit: int) -> None:
        """Drop the least recently used beyond ``limit``, and all but one beyond ``MAX_BYTES``."""
        while len(self._values) > limit or (
            len(self._values) > 1 and sum(map(self.size, self._values.values())) > MAX_BYTES
        ):
            del self._values[next(iter(self._values))]


def _size(splits: Splits) -> int:
    parts = (splits.train, splits.test, splits.holdout)
    return sum(part.images.nbytes for part in parts if part is not None)


datasets: FileCache[Splits] = FileCache(2, _size)


def file_state(path: Path) -> str | None:
    """Identify the present state of a file, or of the files in a folder, without reading them.

    Formula: SHA-256 of the resolved path and, for each file, of its name, device, inode, size, and times of
    modification and status change in nanoseconds. Names that begin with a dot are ignored, as by the reader of
    folders.

    Returns None for a path that cannot be examined; reading it fails with a better message.
    """
    digest = hashlib.sha256(repr(str(path.resolve())).encode())
    try:
        status = path.stat()
        for line in _folder_lines(path, _FOLDER_DEPTH) if stat.S_ISDIR(status.st_mode) else _file_lines(path, status):
            digest.update(line.encode())
    except OSError:
        return None
    return digest.hexdigest()


def _file_lines(path: Path, status: os.stat_result) -> Iterator[str]:
    yield _identity(status)
    names = path.with_name(CLASSES)
    if path.suffix == ".tar" and names.exists():  # the names of the classes of a shard
        yield _identity(names.stat())


def _folder_lines(folder: Path | str, depth: int) -> Iterator[str]:
    with os.scandir(folder) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in visible:
        status = entry.stat()
        if not stat.S_ISDIR(status.st_mode):
            yield f"{entry.name!r} {_identity(status)}\n"
            continue
        yield f"{entry.name!r} {{\n"
        if depth > 1:
            yield from _folder_lines(entry.path, depth - 1)
        yield "}\n"


def _identity(status: os.stat_result) -> str:
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
