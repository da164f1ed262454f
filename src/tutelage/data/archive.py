"""Stream known files out of an untrusted ``.tar.gz``; nothing is ever extracted to disk."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

MAX_MEMBER = 200 * 2**20  # bytes per file; the largest file of CIFAR has 155 MB
MAX_TOTAL = 256 * 2**20  # bytes of the whole archive, decompressed
MAX_MEMBERS = 100


class _BoundedGzip(gzip.GzipFile):
    """A decompressed stream that raises an error beyond ``limit`` bytes."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        super().__init__(fileobj=stream, mode="rb")
        self._bytes_left = limit

    def read(self, size: int | None = -1) -> bytes:
        allowed = self._bytes_left + 1
        block = super().read(allowed if size is None or size < 0 else min(size, allowed))
        self._bytes_left -= len(block)
        if self._bytes_left < 0:
            raise ValueError("it decompresses to more bytes than such a dataset has")
        return block


def read_members(stream: IO[bytes], names: Collection[str], where: str) -> Iterator[tuple[str, bytes]]:
    """Yield ``(name, content)`` for each file of a ``.tar.gz`` that is in ``names``, in the order of the archive.

    Errors: ``ValueError``, prefixed with ``where``: not a ``.tar.gz``; truncated or damaged (the checksum at its end
    is verified); anything in it but plain files and folders (links, devices, sparse files); a name that points
    outside the archive; a requested file that is missing or appears twice; more or larger files than such a dataset
    has.
    """
    missing = set(names)
    try:
        with _BoundedGzip(stream, MAX_TOTAL) as content:
            with tarfile.open(fileobj=content, mode="r|") as tar:
                for count, member in enumerate(tar):
                    name = _checked_name(member)
                    if count >= MAX_MEMBERS:
                        raise ValueError(f"it contains more than {MAX_MEMBERS} files")
                    if name not in names or member.isdir():
                        continue
                    if name not in missing:
                        raise ValueError(f"it contains {name} twice")
                    missing.remove(name)
                    file = tar.extractfile(member)
                    assert file is not None
                    yield name, file.read()
            while content.read(1 << 20):  # gzip verifies its checksum at the end of the stream
                pass
    except (ValueError, EOFError, OSError, zlib.error, tarfile.TarError) as error:
        raise ValueError(f"{where} is refused: {error}") from None
    if missing:
        raise ValueError(f"{where} is refused: it lacks {', '.join(sorted(missing))}")


def _checked_name(member: tarfile.TarInfo) -> str:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (path.parts or member.isdir()):
        raise ValueError(f"it contains {member.name[:80]!r}, which points outside the archive")
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or member.issparse():
        raise ValueError(f"it contains {member.name[:80]!r}, which is neither a plain file nor a folder")
    if not 0 <= member.size <= MAX_MEMBER:
        raise ValueError(
            f"it contains {member.name[:80]!r} with {member.size} bytes; at most {MAX_MEMBER} are allowed"
        )
    return str(path)


def read_unpacked(folder: Path, names: Collection[str], where: str) -> Iterator[tuple[str, bytes]]:
    """Yield ``(name, content)`` as :func:`read_members` does, from a folder that the archive was unpacked into.

    Errors: ``ValueError``, prefixed with ``where``, for a file that is missing, is not a plain file, or is larger
    than allowed.
    """
    for name in names:
        path = folder / PurePosixPath(name).name
        if path.is_symlink() or not path.is_file():
            raise ValueError(f"{where} is refused: it lacks the file {path.name}")
        if path.stat().st_size > MAX_MEMBER:
            raise ValueError(f"{where} is refused: {path.name} has {path.stat().st_size} bytes")
        yield name, path.read_bytes()
