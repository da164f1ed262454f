"""Where image files come from: names, bytes, and what tells that a file is still the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from tutelage.storage import open_regular


class Source(Protocol):
    """Files with names, in a fixed order; a worker of another process may read it too."""

    @property
    def path(self) -> Path:
        """The folder or archive that they are in."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """The name of each file, with ``/`` between its parts."""
        ...

    def open(self, row: int) -> AbstractContextManager[IO[bytes]]:
        """Open a file for reading, in a ``with`` statement.

        Errors: ``ValueError`` for what is no file; ``OSError``.
        """
        ...

    def stamps(self) -> np.ndarray:
        """The size, the time of the last change in nanoseconds and the inode of each file: int64 ``[N, 3]``."""
        ...


@dataclass(frozen=True, slots=True)
class FolderSource:
    """Files of a folder and its sub-folders."""

    path: Path
    names: Sequence[str]

    @contextmanager
    def open(self, row: int) -> Iterator[IO[bytes]]:
        """Open a file for reading."""
        with open_regular(self.path / self.names[row]) as file:
            yield file

    def stamps(self) -> np.ndarray:
        """The size, the time of the last change in nanoseconds and the inode of each file."""
        stamps = np.empty((len(self.names), 3), np.int64)
        for row, name in enumerate(self.names):
            status = (self.path / name).stat()
            stamps[row] = status.st_size, status.st_mtime_ns, np.uint64(status.st_ino).astype(np.int64)
        return stamps


def where(source: Source, row: int) -> str:
    """How messages name a file."""
    return repr(str(source.path / source.names[row]))
