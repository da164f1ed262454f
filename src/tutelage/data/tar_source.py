"""Files in tars that are not compressed: listed once, then read where they lie."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from tutelage.data.members import Archive, Part
from tutelage.data.tar_headers import BLOCK, checked_name, headers
from tutelage.storage import open_regular

MAX_EXTRAS = 16
"""How many headers may amend that of one file: programs write one or two."""
_PADDING = 2**20
"""So many bytes after the end are looked at: programs fill a tar up to a multiple of 10 KiB, seldom of more."""


@dataclass(frozen=True, slots=True, eq=False)
class TarMembers:
    """The files of a tar: names, and offset and size of each, int64 ``[N, 2]``; and the names of folders."""

    archive: Archive
    names: list[str]
    places: np.ndarray
    folders: list[str]


@dataclass(frozen=True, slots=True, eq=False)
class TarSource:
    """Files of one tar or several.

    Shapes: ``places`` int64 ``[N, 3]``, which of ``archives`` a file is in, its offset and its size.
    """

    path: Path
    names: Sequence[str]
    archives: tuple[Archive, ...]
    places: np.ndarray

    @contextmanager
    def open(self, row: int) -> Iterator[IO[bytes]]:
        """Open a file for reading."""
        archive, offset, size = self.places[row].tolist()
        with self.archives[archive].open() as file:
            yield io.BufferedReader(Part(file, offset, size))

    def stamps(self) -> np.ndarray:
        """What changes with a tar or the place of a file in it."""
        stamps = np.empty((len(self.names), 3), np.int64)
        for number, archive in enumerate(self.archives):
            rows = self.places[:, 0] == number
            stamps[rows] = archive.stamps(self.places[rows, 1], self.places[rows, 2])
        return stamps


class _Content:
    """A tar on disk, from front to back."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self._file, self._size = file, size

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def read_all(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise ValueError("it is truncated")
        return data

    def skip(self, size: int) -> None:
        if self._file.tell() + size > self._size:
            raise ValueError("it is truncated")
        self._file.seek(size, io.SEEK_CUR)


def tar_members(path: Path) -> TarMembers:
    """List the files and folders of a tar; no content is read.

    Errors: ``ValueError`` that names the file: not a tar, compressed, truncated, damaged; anything in it but plain
    files and folders (links, devices, sparse files); a name that points outside of it.
    """
    names: list[str] = []
    folders: list[str] = []
    places: list[tuple[int, int]] = []
    try:
        with open_regular(path) as file:
            archive = Archive.of(path, file)
            content = _Content(file, archive.size)
            for member in headers(content, MAX_EXTRAS, each=True):
                name = checked_name(member, archive.size)
                if member.isdir():
                    folders.append(name)
                    continue
                names.append(name)
                places.append((content.tell(), member.size))
                content.skip(member.size)
                content.skip(-member.size % BLOCK)
            _check_end(file, archive.size)
    except tarfile.TarError as error:
        raise ValueError(f"{str(path)!r} is refused: it is no tar, or is damaged ({error})") from None
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is refused: {error}") from None
    return TarMembers(archive, names, np.array(places, np.int64).reshape(len(places), 2), folders)


def _check_end(file: io.BufferedReader, size: int) -> None:
    """A block of zeros must end a tar: one that was cut off between two files would lack some in silence."""
    if file.tell() < BLOCK:
        raise ValueError("it is empty")
    file.seek(-BLOCK, io.SEEK_CUR)
    block = file.read(BLOCK)
    if block.strip(b"\0"):
        raise ValueError("it is truncated: it has no end")
    if file.read(_PADDING).strip(b"\0"):
        raise ValueError("there is more after its end: join tars with `tar -A`, not with `cat`")
