"""The files in a zip: where each lies, so that any of them can be read without the others."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import numpy as np

from tutelage.data.faults import BrokenFiles
from tutelage.data.tar_headers import MAX_MEMBER
from tutelage.storage import open_regular

_RATIO = 1032
"""No byte of deflate becomes more bytes than these."""
_HEADER = 30
_ENCRYPTED = 0x1


class Member(NamedTuple):
    """Where a file lies: the place of its local header, its size there and decompressed, and its checksum."""

    header: int
    stored: int
    size: int
    deflated: bool
    crc: int


@dataclass(frozen=True, slots=True)
class ZipSource:
    """Files of a zip; a :class:`tutelage.data.sources.Source`."""

    path: Path
    names: Sequence[str]
    members: Mapping[str, Member]

    @contextmanager
    def open(self, row: int) -> Iterator[IO[bytes]]:
        """Open a file for reading.

        Errors: ``ValueError`` for one that is damaged; ``OSError``.
        """
        name = self.names[row]
        try:
            content = _read(self.path, self.members[name])
        except (ValueError, struct.error, zlib.error) as error:
            raise ValueError(f"{str(self.path / name)!r} cannot be read: it is damaged ({error})") from None
        yield io.BytesIO(content)

    def stamps(self) -> np.ndarray:
        """The place of each file, and the time of the last change in nanoseconds and the inode of the zip."""
        status = self.path.stat()
        stamps = np.empty((len(self.names), 3), np.int64)
        stamps[:, 0] = [self.members[name].header for name in self.names]
        stamps[:, 1:] = status.st_mtime_ns, np.uint64(status.st_ino).astype(np.int64)
        return stamps


def _read(path: Path, member: Member) -> bytes:
    with open_regular(path) as file:
        file.seek(member.header)
        lengths = struct.unpack("<26x2H", file.read(_HEADER))
        file.seek(sum(lengths), io.SEEK_CUR)
        content = file.read(member.stored)
    if member.deflated:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, member.size + 1)
    if len(content) != member.size or zlib.crc32(content) != member.crc:
        raise ValueError("its checksum or size is another")
    return content


def zip_members(path: Path) -> dict[str, Member]:
    """Where each file of a zip lies, by its name, in the order of the zip.

    Errors: ``ValueError`` for what is no zip; :class:`BrokenFiles` that lists all members which are encrypted, links,
    too large, compressed in an uncommon way, named twice, or named so that they point outside.
    """
    where = repr(str(path))
    try:
        with open_regular(path) as file:
            size = file.seek(0, io.SEEK_END)
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{where} is refused: it is no zip or is damaged ({error})") from None
    except OSError as error:
        raise ValueError(f"{where} cannot be read: {error.strerror or error}") from None
    members: dict[str, Member] = {}
    faults = []
    for entry in entries:
        if entry.filename.endswith("/"):  # is_dir fails where there is no name at all
            continue
        reason = "there are two of its name" if entry.filename in members else _fault(entry)
        if reason:
            faults.append(f"{str(path / entry.filename)!r}: {reason}")
        deflated = entry.compress_type == zipfile.ZIP_DEFLATED
        members[entry.filename] = Member(
            entry.header_offset, entry.compress_size, entry.file_size, deflated, entry.CRC
        )
    if faults:
        raise BrokenFiles(faults, path, may_skip=False)
    if sum(member.stored for member in members.values()) > size:
        raise ValueError(f"{where} is refused: its files overlap")
    if any(member.size > _RATIO * member.stored for member in members.values()):
        raise ValueError(f"{where} is refused: its files declare more bytes than they can have")
    return members


def _fault(entry: zipfile.ZipInfo) -> str:
    path = PurePosixPath(entry.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or not path.parts:
        return "its name points outside the zip"
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        return "it is neither a plain file nor a folder"
    if entry.flag_bits & _ENCRYPTED:
        return "it is encrypted"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"it is compressed by method {entry.compress_type}: expected stored or deflated files"
    if entry.file_size > MAX_MEMBER:
        return f"it declares {entry.file_size:,} bytes: at most {MAX_MEMBER:,} are allowed"
    return ""
