"""The file of rows of a logit store: mapped into memory for reading, appended to in blocks."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from tutelage import storage

_COPY = 1 << 24


class RowTable:
    """The first ``count`` rows of ``num_classes`` values of a file, mapped into memory.

    Other processes append to the file. It stays the same one if another takes its name. Access to mapped bytes that
    someone has cut off ends a process by a signal (SIGBUS), so the file's size is checked before each access: one
    call for a batch, where reading its rows one by one would take two for each.

    Errors: ``ValueError`` for what is no regular file, or has fewer rows; ``OSError``.
    """

    def __init__(self, path: Path, count: int, num_classes: int, dtype: torch.dtype) -> None:
        with storage.open_regular(path) as file:
            self._map = mmap.mmap(file.fileno(), count * num_classes * dtype.itemsize, access=mmap.ACCESS_COPY)
        self._rows = torch.frombuffer(self._map, dtype=dtype).view(count, num_classes)

    def is_whole(self) -> bool:
        """Whether the file still has all of these rows."""
        return self._map.size() >= len(self._map)

    def read(self, positions: Tensor) -> Tensor:
        """The rows at some positions, ``[n, num_classes]``, while the file :meth:`is_whole`."""
        return self._rows.index_select(0, positions)


def write_rows(path: Path, start: int, data: bytes) -> None:
    """Write bytes from the offset ``start`` on, and flush them to disk; where that fails the file ends at ``start``.

    Errors: ``storage.NoSpace``; ``OSError``; ``ValueError`` for a link or anything else that is no file.
    """
    with os.fdopen(storage.open_own(path, os.O_RDWR), "r+b", buffering=0) as file:
        try:
            with storage.explain_write_errors(path, len(data)):
                file.seek(start)
                remaining = memoryview(data)
                while remaining:
                    remaining = remaining[file.write(remaining) :]
                storage.sync(file.fileno())
        except OSError:
            file.truncate(start)  # a checkpoint may need the space
            raise


def replace_rows(path: Path, size: int) -> None:
    """Replace the file by a copy of its first ``size`` bytes; whoever has opened it still reads the old file.

    Errors: ``storage.NoSpace``; ``OSError``.
    """

    def blocks() -> Iterator[bytes]:
        with storage.open_regular(path) as file:
            for start in range(0, size, _COPY):
                yield file.read(min(_COPY, size - start))

    storage.write_bytes(path, blocks())
