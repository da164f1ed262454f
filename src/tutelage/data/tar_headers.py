"""The headers of a tar of unknown origin, in linear time."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Protocol

MAX_MEMBER = 200 * 2**20  # bytes per file; the largest file of CIFAR has 155 MB
MAX_MEMBERS = 100
MAX_EXTRAS, MAX_EXTRA_BYTES = 4 * MAX_MEMBERS, 2**18  # headers that amend the next one, and bytes of all of them

_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTRA = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE, *_PAX)


class Content(Protocol):
    """Bytes that are read once from front to back."""

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer only at the end."""
        ...

    def read_all(self, size: int) -> bytes:
        """The next ``size`` bytes.

        Errors: ``ValueError`` where the file ends before.
        """
        ...

    def skip(self, size: int) -> None:
        """Pass over ``size`` bytes.

        Errors: ``ValueError`` where the file ends before.
        """
        ...


def headers(
    content: Content, most: int = MAX_EXTRAS, most_bytes: int = MAX_EXTRA_BYTES, in_a_row: bool = False
) -> Iterator[tarfile.TarInfo]:
    """The headers of the files and folders in a tar, with the names and sizes that extra headers give them.

    At most so many extra headers of so many bytes are read, of the whole tar or ``in_a_row``. The caller reads or
    skips what follows a header.

    Errors: ``ValueError`` and ``tarfile.TarError`` for what is none.
     Extra headers are read here because some versions of tarfile take
    quadratic time for one (before Python 3.11.10), and all recurse for each, and join blocks of a sparse file's map
    in quadratic time.
    """
    shared: dict[str, bytes] = {}
    own: dict[str, bytes] = {}
    extras, extra_bytes = 0, 0
    while (block := content.read(tarfile.BLOCKSIZE)).strip(b"\0"):  # a block of zeros, or nothing, is the end
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if header.type not in _EXTRA:
            yield _amended(header, shared | own)
            own = {}
            if in_a_row:
                extras = extra_bytes = 0
            continue
        extras, extra_bytes = extras + 1, extra_bytes + header.size
        if extras > most:
            raise ValueError(f"it contains more than {most} extra headers")
        if header.size < 0 or extra_bytes > most_bytes:
            raise ValueError(f"its extra headers declare {extra_bytes} bytes; at most {most_bytes} are allowed")
        data = content.read_all(header.size)
        content.skip(-header.size % tarfile.BLOCKSIZE)
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


def checked_name(member: tarfile.TarInfo) -> str:
    """The name of a file or folder in a tar.

    Errors: ``ValueError`` for one that points outside, for anything but plain files and folders, and for large files.
    """
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
