"""The files in an uncompressed tar: where each lies, so that any of them can be read without the others."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from tutelage.data.tar_headers import checked_name, headers
from tutelage.storage import open_regular

MAX_FILES = 5_000_000
"""The most files of a tar."""
_IN_A_ROW, _EXTRA_BYTES = 16, 2**20  # extra headers before one file, and bytes of these


class Member(NamedTuple):
    """Where a file lies: the tar, relative to the path of its source, the place of its first byte, and its size."""

    tar: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class TarSource:
    """Files of one tar, or of several in a folder; a :class:`tutelage.data.sources.Source`."""

    path: Path
    names: Sequence[str]
    members: Mapping[str, Member]

    @contextmanager
    def open(self, row: int) -> Iterator[IO[bytes]]:
        """Open a file for reading.

        Errors: ``ValueError`` for a tar that has become shorter; ``OSError``.
        """
        yield io.BytesIO(read_member(self.path, self.members[self.names[row]]))

    def stamps(self) -> np.ndarray:
        """The place of each file, and the time of the last change in nanoseconds and the inode of its tar."""
        status = {tar: (self.path / tar).stat() for tar in {member.tar for member in self.members.values()}}
        stamps = np.empty((len(self.names), 3), np.int64)
        for row, name in enumerate(self.names):
            tar, offset, _ = self.members[name]
            stamps[row] = offset, status[tar].st_mtime_ns, np.uint64(status[tar].st_ino).astype(np.int64)
        return stamps


def read_member(path: Path, member: Member) -> bytes:
    """Read a file of a tar.

    Errors: ``ValueError`` for a tar that has become shorter; ``OSError``.
    """
    tar = path / member.tar
    with open_regular(tar) as file:
        file.seek(member.offset)
        content = file.read(member.size)
    if len(content) < member.size:
        raise ValueError(f"{str(tar)!r} is truncated")
    return content


def tar_members(path: Path, tar: str = "") -> dict[str, Member]:
    """Where each file of an uncompressed tar lies, by its name, in the order of the tar.

    Errors: ``ValueError`` that names the tar: it is none, damaged or truncated, or it holds anything but plain files
    and folders, names that point outside or appear twice, or too many or too large files.
    """
    members: dict[str, Member] = {}
    where = repr(str(path / tar))
    try:
        with open_regular(path / tar) as file:
            content = _Content(file)
            for header in headers(content, _IN_A_ROW, _EXTRA_BYTES, in_a_row=True):
                name = checked_name(header)
                if header.isdir():
                    continue
                if name in members:
                    raise ValueError(f"it contains {name!r} twice")
                if len(members) == MAX_FILES:
                    raise ValueError(f"it contains more than {MAX_FILES:,} files")
                members[name] = Member(tar, file.tell(), header.size)
                content.skip(header.size + -header.size % tarfile.BLOCKSIZE)
    except (ValueError, tarfile.TarError) as error:
        raise ValueError(f"{where} is refused: {error}") from None
    except OSError as error:
        raise ValueError(f"{where} cannot be read: {error.strerror or error}") from None
    return members


class _Content:
    """The bytes of a file; what is skipped is not read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        file.seek(0)

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
        self._file.seek(size, os.SEEK_CUR)
