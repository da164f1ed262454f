"""Stream known files out of an untrusted ``.tar.gz``; nothing is ever extracted to disk."""

from __future__ import annotations

import itertools
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from tutelage.storage import read_regular

MAX_MEMBER = 200 * 2**20  # bytes per file; the largest file of CIFAR has 155 MB
MAX_TOTAL = 256 * 2**20  # bytes of the whole archive, decompressed
MAX_MEMBERS = 100
MAX_EXTRAS, MAX_EXTRA_BYTES = 4 * MAX_MEMBERS, 2**18  # headers that amend the next one, and bytes of all of them
MAX_STREAMS = 1000  # a gzip file may consist of any number of compressed streams, also of empty ones

_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 2**16  # bytes that are decompressed at once
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTRA = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE, *_PAX)


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
        for count, member in enumerate(_headers(content)):
            name = _checked_name(member)
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
            content.skip(-member.size % _BLOCK)
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
        paths = (PurePosixPath(header.name) for header in itertools.islice(_headers(_Content(stream)), 2))
        return next((path.parts[0] for path in paths if path.parts), "")
    except (ValueError, zlib.error, tarfile.TarError):
        return ""


def _headers(content: _Content) -> Iterator[tarfile.TarInfo]:
    """The headers of the files and folders in a tar, with the names and sizes that extra headers give them.

    The caller reads or skips what follows a header. Extra headers are read here because some versions of tarfile take
    quadratic time for one (before Python 3.11.10), and all recurse for each, and join blocks of a sparse file's map
    in quadratic time.
    """
    shared: dict[str, bytes] = {}
    own: dict[str, bytes] = {}
    extras, extra_bytes = 0, 0
    while (block := content.read(_BLOCK)).strip(b"\0"):  # a block of zeros, or nothing, is the end
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if header.type not in _EXTRA:
            yield _amended(header, shared | own)
            own = {}
            continue
        extras, extra_bytes = extras + 1, extra_bytes + header.size
        if extras > MAX_EXTRAS:
            raise ValueError(f"it contains more than {MAX_EXTRAS} extra headers")
        if header.size < 0 or extra_bytes > MAX_EXTRA_BYTES:
            raise ValueError(f"its extra headers declare {extra_bytes} bytes; at most {MAX_EXTRA_BYTES} are allowed")
        data = content.read_all(header.size)
        content.skip(-header.size % _BLOCK)
        if header.type == tarfile.GNUTYPE_LONGNAME:
            own["path"] = data.partition(b"\0")[0]
        elif header.type in _PAX:
            own |= _pax_records(data)
        elif header.type == tarfile.XGLTYPE:
            shared |= _pax_records(data)
    if own:
        raise ValueError("it ends after an extra header")


def _pax_records(data: bytes) -> dict[str, bytes]:
    """The records ``LENGTH KEY=VALUE`` of a pax header that matter here: path, size, and whether a file is sparse."""
    records: dict[str, bytes] = {}
    place = 0
    while place < len(data) and data[place]:
        digits = data[place : place + 8].partition(b" ")[0]
        end = place + int(digits) if digits.isdigit() else 0
        key, separator, value = data[place + len(digits) + 1 : end].partition(b"=")
        if not (place < end <= len(data) and key and separator and value.endswith(b"\n")):
            raise ValueError("an extra header is damaged")
        if key in (b"path", b"size"):
            records[key.decode()] = value[:-1]
        elif key.startswith(b"GNU.sparse."):
            records["sparse"] = b""
        place = end
    return records


def _amended(header: tarfile.TarInfo, records: dict[str, bytes]) -> tarfile.TarInfo:
    """A header with what extra headers say of its file."""
    if "path" in records:
        header.name = records["path"].decode("utf-8", "surrogateescape")
    if "size" in records:
        if not records["size"].isdigit() or len(records["size"]) > 15:
            raise ValueError("an extra header is damaged")
        header.size = int(records["size"])
    if "sparse" in records:
        header.type = tarfile.GNUTYPE_SPARSE
    return header


def _checked_name(member: tarfile.TarInfo) -> str:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (path.parts or member.isdir()):
        raise ValueError(f"it contains {member.name[:80]!r}, which points outside the archive")
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
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
    paths = {name: folder / PurePosixPath(name).name for name in names}
    missing = [path.name for path in paths.values() if path.is_symlink() or not path.is_file()]
    if missing:
        raise ValueError(f"{where} is refused: it lacks the file{'s' * (len(missing) > 1)} {', '.join(missing)}")
    for name, path in paths.items():
        if path.stat().st_size > MAX_MEMBER:
            raise ValueError(f"{where} is refused: {path.name} has {path.stat().st_size} bytes")
        yield name, read_regular(path, MAX_MEMBER)
