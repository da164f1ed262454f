"""Files in a zip: listed once, then read where they lie."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from tutelage.data.members import Archive, Part
from tutelage.data.npz import MAX_RATIO
from tutelage.data.tar_headers import inner_path
from tutelage.storage import open_regular

MAX_UNPACKED = 256 * 2**20
"""The most bytes of a file that is read into memory: what is compressed must fit, other files are not checked."""
_HEADER = struct.Struct("<4s22x2H")
"""A file's own header, of which the lengths of the name and of the extra field matter here."""
_ENCRYPTED, _UTF8 = 0x1, 0x800


@dataclass(frozen=True, slots=True, eq=False)
class ZipMembers:
    """The files of a zip; ``places`` are those of :class:`ZipSource`; and the names of folders."""

    archive: Archive
    names: list[str]
    places: np.ndarray
    folders: list[str]


@dataclass(frozen=True, slots=True, eq=False)
class ZipSource:
    """Files of a zip.

    Shapes: ``places`` int64 ``[N, 5]``: the offset of a file's header, its size in the zip, its own size, its
    checksum, and 1 where it is compressed, else 0.
    """

    path: Path
    names: Sequence[str]
    archive: Archive
    places: np.ndarray

    @contextmanager
    def open(self, row: int) -> Iterator[IO[bytes]]:
        """Open a file for reading: its content is read into memory, unpacked and checked.

        Errors: ``ValueError`` for a damaged file, and for one that unpacks to more than it declares; ``OSError``.
        """
        offset, packed, size, checksum, compressed = self.places[row].tolist()
        where = repr(str(self.path / self.names[row]))
        with self.archive.open() as file:
            file.seek(offset)
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size or header[:4] != b"PK\3\4":
                raise ValueError(f"{where} cannot be read: the zip is damaged")
            _, name_length, extra_length = _HEADER.unpack(header)
            start = offset + _HEADER.size + name_length + extra_length
            if start + packed > self.archive.size:
                raise ValueError(f"{where} cannot be read: the zip is truncated")
            if size > MAX_UNPACKED:
                yield io.BufferedReader(Part(file, start, size))
                return
            file.seek(start)
            content = file.read(packed)
        yield io.BytesIO(_checked(content, size, checksum, bool(compressed), where))

    def stamps(self) -> np.ndarray:
        """What changes with the zip or the place of a file in it."""
        return self.archive.stamps(self.places[:, 0], self.places[:, 2])


def _checked(content: bytes, size: int, checksum: int, compressed: bool, where: str) -> bytes:
    try:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, size + 1) if compressed else content
    except zlib.error as error:
        raise ValueError(f"{where} cannot be read: {error}") from None
    if len(content) != size or zlib.crc32(content) != checksum:
        raise ValueError(f"{where} cannot be read: it is damaged, its size or checksum is another one")
    return content


def zip_members(path: Path) -> ZipMembers:
    """List the files and folders of a zip; no content is read.

    Errors: ``ValueError`` that names the file: not a zip, damaged; files in it that are encrypted, compressed by a
    method other than deflate, links or devices, that overlap, or that declare more than they can contain; a name that
    points outside of it.
    """
    try:
        with open_regular(path) as file:
            archive = Archive.of(path, file)
            with zipfile.ZipFile(file) as content:
                infos = content.infolist()
        folders = [inner_path(name, True) for name in map(_name, infos) if name.endswith("/")]
        infos = [info for info in infos if not info.orig_filename.endswith("/")]
        names = [inner_path(_name(info), False) for info in infos]
        for name, info in zip(names, infos, strict=True):
            _check(name, info)
        places = np.array([_place(info) for info in infos], np.int64).reshape(len(infos), 5)
        _check_apart(names, places, archive.size)
    except (zipfile.BadZipFile, struct.error, RuntimeError, OverflowError, EOFError) as error:
        raise ValueError(f"{str(path)!r} is refused: it is no zip, or is damaged ({error})") from None
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is refused: {error}") from None
    return ZipMembers(archive, names, places, folders)


def _name(info: zipfile.ZipInfo) -> str:
    r"""The name of a member. Without the flag for it, it may still be UTF-8: a Mac writes it so.

    Errors: ``ValueError`` for one with ``\``, which is a folder's end to some programs and a character to others.
    """
    name = info.orig_filename
    if not info.flag_bits & _UTF8:
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:  # it is what the format says
            name = info.orig_filename
    if "\\" in name:
        raise ValueError(f"it contains {name[:80]!r}, whose name has a backslash; repack it with / between folders")
    return name


def _check(name: str, info: zipfile.ZipInfo) -> None:
    what = f"it contains {name[:80]!r}, which is"
    if info.flag_bits & _ENCRYPTED:
        raise ValueError(f"{what} encrypted; unpack it, and use the folder or a zip without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        method = zipfile.compressor_names.get(info.compress_type, str(info.compress_type))  # type: ignore[attr-defined]
        raise ValueError(f"{what} compressed by the method {method}; repack it with `zip -0 -r`")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise ValueError(f"{what} neither a plain file nor a folder")
    if info.compress_type == zipfile.ZIP_STORED:
        if info.compress_size != info.file_size:
            raise ValueError(f"{what} not compressed, and declares two sizes")
    elif info.file_size > min(MAX_UNPACKED, MAX_RATIO * info.compress_size):
        raise ValueError(
            f"{what} declared to unpack from {info.compress_size} to {info.file_size} bytes; at most {MAX_RATIO} "
            f"times as many, and {MAX_UNPACKED}, are allowed"
        )


def _place(info: zipfile.ZipInfo) -> tuple[int, int, int, int, int]:
    compressed = info.compress_type != zipfile.ZIP_STORED
    return info.header_offset, info.compress_size, info.file_size, info.CRC, int(compressed)


def _check_apart(names: Sequence[str], places: np.ndarray, size: int) -> None:
    """Refuse files that share bytes: a small zip could hold any number of large ones."""
    order = np.argsort(places[:, 0], kind="stable")
    starts = places[order, 0]
    ends = starts + _HEADER.size + places[order, 1]
    limits = np.append(starts[1:], size)
    if wrong := np.flatnonzero((starts < 0) | (ends > limits))[:1].tolist():
        raise ValueError(f"it contains {names[order[wrong[0]]][:80]!r}, which overlaps with another file or the end")
