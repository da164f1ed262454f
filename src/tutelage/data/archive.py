"""Stream known files out of an untrusted ``.tar.gz``; nothing is ever extracted to disk."""

from __future__ import annotations

import itertools
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from tutelage.data.tar_headers import BLOCK, checked_name, headers
from tutelage.storage import read_regular

MAX_MEMBER = 200 * 2**20  # bytes per file; the largest file of CIFAR has 155 MB
MAX_TOTAL = 256 * 2**20  # bytes of the whole archive, decompressed
MAX_MEMBERS = 100
MAX_EXTRAS = 4 * MAX_MEMBERS  # headers that amend the next one
MAX_STREAMS = 1000  # a gzip file may consist of any number of compressed streams, also of empty ones

_CHUNK = 2**16  # bytes that are decompressed at once


class _Content:
    """The decompressed bytes of a ``.gz``, read once from front to back."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._blocks = decompress(stream, MAX_TOTAL)
        self._unread = memoryview(b"")

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer only at the end."""
        return b"".join(self._pieces(size))

    def read_all(self, size: int) -> bytes:
        """The next ``size`` bytes.

        Errors: ``ValueError`` where the file ends before.
        """
        data = self.read(size)
        if len(data) < size:
            raise ValueError("it is truncated")
        return data

    def skip(self, size: int) -> None:
        """Pass over ``size`` bytes.

        Errors: ``ValueError`` where the file ends before.
        """
        if sum(map(len, self._pieces(size))) < size:
            raise ValueError("it is truncated")

    def finish(self) -> None:
        """Read to the end, where the checksum is."""
        for _ in self._blocks:
            pass

    def _pieces(self, size: int) -> Iterator[memoryview]:
        while size > 0:
            if not self._unread:
                self._unread = memoryview(next(self._blocks, b""))
                if not self._unread:
                    return
            piece, self._unread = self._unread[:size], self._unread[size:]
            size -= len(piece)
            yield piece


def decompress(stream: IO[bytes], limit: int) -> Iterator[bytes]:
    """The content of a ``.gz`` in blocks, its checksums verified.

    Errors: ``ValueError`` where it is truncated or has more than ``limit`` bytes; ``zlib.error`` where it is damaged.

    By zlib rather than the module gzip, which reads a name in a header byte by byte, and any number of empty streams.
    """
    total, data = 0, stream.read(_CHUNK)
    for _ in range(MAX_STREAMS):
        decoder = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while not decoder.eof:
            data = data or stream.read(_CHUNK)
            if not data:
                raise ValueError("it is truncated")
            block = decoder.decompress(data, _CHUNK)
            data = decoder.unconsumed_tail
            total += len(block)
            if total > limit:
                raise ValueError("it decompresses to more bytes than such a dataset has")
            if block:
                yield block
        data = decoder.unused_data.lstrip(b"\0")  # zeros may follow
        while not data:
            data = stream.read(_CHUNK)
            if not data:
                return
            data = data.lstrip(b"\0")
    raise ValueError(f"it consists of more than {MAX_STREAMS} compressed streams")


def read_members(stream: IO[bytes], names: Collection[str], where: str) -> Iterator[tuple[str, bytes]]:
    """Yield ``(name, content)`` for each file of a ``.tar.gz`` that is in ``names``, in the order of the archive.

    Errors: ``ValueError``, prefixed with ``where``: not a ``.tar.gz``; truncated or damaged (the checksum at its end
    is verified); anything in it but plain files and folders (links, devices, sparse files); a name that points
    outside the archive; a requested file that is missing or appears twice; more or larger files than such a dataset
    has.
    """
    missing = set(names)
    try:
        content = _Content(stream)
        for count, member in enumerate(headers(content, MAX_EXTRAS)):
            name = checked_name(member, MAX_MEMBER)
            if count >= MAX_MEMBERS:
                raise ValueError(f"it contains more than {MAX_MEMBERS} files")
            if member.isdir():
                continue  # a folder has no content, whatever size it declares
            if name in names:
                if name not in missing:
                    raise ValueError(f"it contains {name} twice")
                missing.remove(name)
                yield name, content.read_all(member.size)
            else:
                content.skip(member.size)
            content.skip(-member.size % BLOCK)
        content.finish()
    except zlib.error as error:
        raise ValueError(f"{where} is refused: it is not a .gz or is damaged ({error})") from None
    except (ValueError, OSError, tarfile.TarError) as error:
        raise ValueError(f"{where} is refused: {error}") from None
    if missing:
        raise ValueError(f"{where} is refused: it lacks {', '.join(sorted(missing))}")


def top_folder(stream: IO[bytes]) -> str:
    """The outermost folder of the first file or folder in a ``.tar.gz``; empty if the file is none, or is damaged."""
    try:
        paths = (PurePosixPath(header.name) for header in itertools.islice(headers(_Content(stream), MAX_EXTRAS), 2))
        return next((path.parts[0] for path in paths if path.parts), "")
    except (ValueError, zlib.error, tarfile.TarError):
        return ""


def read_unpacked(folder: Path, names: Collection[str], where: str) -> Iterator[tuple[str, bytes]]:
    """Yield ``(name, content)`` as :func:`read_members` does, from a folder that the archive was unpacked into.

    Errors: ``ValueError``, prefixed with ``where``, for a file that is missing, is not a plain file, or is larger
    than allowed.
    """
    paths = {name: folder / PurePosixPath(name).name for name in names}
    missing = [path.name for path in paths.values() if path.is_symlink() or not path.is_file()]
    if missing:
        raise ValueError(f"{where} is refused: it lacks the file{'s' * (len(missing) > 1)} {', '.join(missing)}")
    for name, path in paths.items():
        if path.stat().st_size > MAX_MEMBER:
            raise ValueError(f"{where} is refused: {path.name} has {path.stat().st_size} bytes")
        yield name, read_regular(path, MAX_MEMBER)
