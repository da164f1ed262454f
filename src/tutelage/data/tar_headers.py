"""The headers of an untrusted tar, read without the parts of Python's tarfile that can be kept busy."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Protocol

MAX_EXTRA_BYTES = 2**18  # bytes of headers that amend the next one, together
BLOCK = tarfile.BLOCKSIZE

_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTRA = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE, *_PAX)


class Content(Protocol):
    """The bytes of a tar, read once from front to back."""

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


def headers(content: Content, max_extras: int, each: bool = False) -> Iterator[tarfile.TarInfo]:
    """The headers of the files and folders in a tar, with the names and sizes that extra headers give them.

    The caller reads or skips what follows a header. There may be ``max_extras`` extra headers of ``MAX_EXTRA_BYTES``
    in the whole tar, or with ``each`` before each file.

    Errors: ``ValueError`` and ``tarfile.TarError`` for what is no tar, or is damaged or hostile.

    Extra headers are read here because some versions of tarfile take
    quadratic time for one (before Python 3.11.10), and all recurse for each, and join blocks of a sparse file's map
    in quadratic time.
    """
    shared: dict[str, bytes] = {}
    own: dict[str, bytes] = {}
    extras, extra_bytes = 0, 0
    while (block := content.read(BLOCK)).strip(b"\0"):  # a block of zeros, or nothing, is the end
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if header.type not in _EXTRA:
            yield _amended(header, shared | own)
            own = {}
            if each:
                extras, extra_bytes = 0, 0
            continue
        extras, extra_bytes = extras + 1, extra_bytes + header.size
        if extras > max_extras:
            raise ValueError(f"it contains more than {max_extras} extra headers{' of one file' if each else ''}")
        if header.size < 0 or extra_bytes > MAX_EXTRA_BYTES:
            raise ValueError(f"its extra headers declare {extra_bytes} bytes; at most {MAX_EXTRA_BYTES} are allowed")
        data = content.read_all(header.size)
        content.skip(-header.size % BLOCK)
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


def checked_name(member: tarfile.TarInfo, limit: int) -> str:
    """The name of a plain file of at most ``limit`` bytes, or of a folder.

    Errors: ``ValueError`` for anything else.
    """
    path = inner_path(member.name, member.isdir())
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
        raise ValueError(f"it contains {member.name[:80]!r}, which is neither a plain file nor a folder")
    if not 0 <= member.size <= limit:
        raise ValueError(f"it contains {member.name[:80]!r} with {member.size} bytes; at most {limit} are allowed")
    return path


def inner_path(name: str, is_folder: bool) -> str:
    """The name of a member, without ``.`` and superfluous slashes.

    Errors: ``ValueError`` for one that points outside the archive.

    >>> inner_path("./a//1.png", False), inner_path("a/", True)
    ('a/1.png', 'a')
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or not (path.parts or is_folder):
        raise ValueError(f"it contains {name[:80]!r}, which points outside the archive")
    return str(path)
