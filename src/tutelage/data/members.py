"""Files that lie in an archive on disk: their names checked, their bytes read where they lie."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.data.listing import Tree, is_debris
from tutelage.storage import open_regular

DEPTH = 4
"""``<wrapper>/train/<class>/<file>``: what lies deeper belongs to no dataset."""
_NESTED = re.compile(r"\.(tar|zip|7z|rar|tgz|tbz2?|txz|tzst|tar\.\w+)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive as it was when its members were listed."""

    path: Path
    size: int
    modified: int
    inode: int

    @classmethod
    def of(cls, path: Path, file: io.BufferedReader) -> Archive:
        """The archive that is open as ``file``."""
        status = os.fstat(file.fileno())
        return cls(path, status.st_size, status.st_mtime_ns, status.st_ino)

    @contextmanager
    def open(self) -> Iterator[io.BufferedReader]:
        """Open it, with a position of its own: threads and processes read at once.

        Errors: ``ValueError`` for an archive that has changed; ``OSError``.
        """
        with open_regular(self.path) as file:
            if Archive.of(self.path, file) != self:
                raise ValueError(f"{str(self.path)!r} has changed since its files were listed")
            yield file

    def stamps(self, offsets: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """What changes with the archive or the place of a member in it: int64 ``[N, 3]``."""
        own = int.from_bytes(hashlib.sha256(f"{self.inode} {self.size}".encode()).digest()[:7], "little")
        return np.stack([sizes, np.full(len(sizes), self.modified, np.int64), own + offsets], 1)


class Part(io.RawIOBase):
    """The bytes of a file from ``offset`` to ``offset + size``, as a file; nobody else may move its position."""

    def __init__(self, file: io.BufferedReader, offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._place = file, offset, size, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a place, from the start, the place or the end of these bytes."""
        place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if place < 0:
            raise ValueError(f"negative seek position {place}")
        self._place = place
        return place

    def readinto(self, buffer: Any, /) -> int:
        """Read up to as many bytes as the buffer has."""
        count = max(0, min(len(buffer), self._size - self._place))
        self._file.seek(self._offset + self._place)
        read = self._file.readinto(memoryview(buffer)[:count])
        self._place += read
        return read


def tree_of(files: Sequence[str], folders: Iterable[str] = ()) -> Tree:
    """Files and folders by their names, as a folder that they were unpacked into.

    Errors: ``ValueError`` for a name that appears twice, and for an archive among the files.

    >>> tree_of(["a/1.png", "b/1.png"], ["a", "c"])
    {'a': {'1.png': True}, 'b': {'1.png': True}, 'c': {}}
    """
    root: dict[str, Any] = {}
    if len({*files}) < len(files):
        twice = next(name for name, count in Counter(files).items() if count > 1)
        raise ValueError(f"it contains {twice[:80]!r} twice")
    for name in files:
        if _NESTED.search(name) and not any(map(is_debris, name.split("/"))):
            raise ValueError(f"it contains the archive {name[:80]!r}: unpack both, or repack the images without it")
        parts = name.split("/")
        folder = _folder(root, parts[:-1], name)
        if folder.get(parts[-1]) is not None and len(parts) <= DEPTH:
            raise ValueError(f"it contains {name[:80]!r} as a file and as a folder")
        if len(parts) <= DEPTH:
            folder[parts[-1]] = True
    for name in folders:
        _folder(root, name.split("/"), name)
    return root


def _folder(root: dict[str, Any], parts: list[str], name: str) -> dict[str, Any]:
    for part in parts[:DEPTH]:
        root = root.setdefault(part, {})
        if not isinstance(root, dict):
            raise ValueError(f"it contains {name[:80]!r} below what is a file")
    return root
