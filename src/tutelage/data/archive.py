"""Streams known files out of a ``.tar.gz`` that nobody vouches for; nothing is ever extracted to disk."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

MAX_MEMBER = 200 * 2**20  # bytes of one file; the largest of CIFAR has 155 MB
MAX_TOTAL = 256 * 2**20  # bytes of the whole archive once decompressed
MAX_MEMBERS = 100


class _Bounded(gzip.GzipFile):
    """A decompressed stream that ends in an error past ``limit`` bytes."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        super().__init__(fileobj=stream, mode="rb")
        self._bytes_left = limit

    def read(self, size: int | None = -1) -> bytes:
        allowed = self._bytes_left + 1
        block = super().read(allowed if size is None or size < 0 else min(size, allowed))
        self._bytes_left -= len(block)
        if self._bytes_left < 0:
            raise ValueError("it decompresses to more bytes than such an image set has")
        return block


def read_members(stream: IO[bytes], wanted: Collection[str], where: str) -> Iterator[tuple[str, bytes]]:
    """Yield ``(name, content)`` for each ``wanted`` file of a ``.tar.gz``, in the order of the archive.

    Errors: ``ValueError``, with ``where``: not a ``.tar.gz``, cut short or damaged (its checksum is read to the end);
    anything but plain files and folders in it (links, devices, sparse files); a name that leaves the folder it is
    in; a wanted file twice or not at all; more or larger files than such a set has.
    """
    missing = set(wanted)
    try:
        with _Bounded(stream, MAX_TOTAL) as content:
            with tarfile.open(fileobj=content, mode="r|") as tar:
                for count, member in enumerate(tar):
                    name = _checked_name(member)
                    if count >= MAX_MEMBERS:
                        raise ValueError(f"it holds more than {MAX_MEMBERS} files")
                    if name not in wanted or member.isdir():
                        continue
                    if name not in missing:
                        raise ValueError(f"it holds {name} twice")
                    missing.remove(name)
                    file = tar.extractfile(member)
                    assert file is not None
                    yield name, file.read()
            while content.read(1 << 20):  # the checksum of gzip comes last
                pass
    except (ValueError, EOFError, OSError, zlib.error, tarfile.TarError) as error:
        raise ValueError(f"{where} is refused: {error}") from None
    if missing:
        raise ValueError(f"{where} is refused: it lacks {', '.join(sorted(missing))}")


def _checked_name(member: tarfile.TarInfo) -> str:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (path.parts or member.isdir()):
        raise ValueError(f"it holds {member.name[:80]!r}, which points outside of it")
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or member.issparse():
        raise ValueError(f"it holds {member.name[:80]!r}, which is neither a plain file nor a folder")
    if not 0 <= member.size <= MAX_MEMBER:
        raise ValueError(f"it holds {member.name[:80]!r} of {member.size} bytes; {MAX_MEMBER} are allowed")
    return str(path)


def read_unpacked(folder: Path, wanted: Collection[str], where: str) -> Iterator[tuple[str, bytes]]:
    """Yield the same from a folder into which somebody has unpacked the archive.

    Errors: ``ValueError``, with ``where``, for a file that is missing, is no plain file, or is larger than allowed.
    """
    for name in wanted:
        path = folder / PurePosixPath(name).name
        if path.is_symlink() or not path.is_file():
            raise ValueError(f"{where} is refused: it lacks the file {path.name}")
        if path.stat().st_size > MAX_MEMBER:
            raise ValueError(f"{where} is refused: {path.name} has {path.stat().st_size} bytes")
        yield name, path.read_bytes()
