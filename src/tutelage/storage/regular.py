"""Open files that a stranger may have put there: regular files only, and no more bytes of them than are allowed."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

MAX_JSON = 16 * 2**20
"""The most bytes of a JSON file that are read; those that tutelage writes have some kilobytes, metrics megabytes."""

_NONBLOCK = getattr(os, "O_NONBLOCK", 0)  # Windows has neither the flag nor files whose opening waits
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file for reading, unless it is a pipe, a device or a folder: reading those may never end.

    Errors: ``ValueError`` that names the file and what it is; ``OSError``.

    >>> open_regular(Path("/dev/zero"))
    Traceback (most recent call last):
    ...
    ValueError: /dev/zero is a device, not a file
    """
    # Not looked at by its name first: the name may stand for another file by the time it is opened.
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 - Path.open takes no opener
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, not a file") from None
    except OSError as error:
        raise (_socket_error(path) or error) from None
    try:
        _check_regular(path, file.fileno())
    except ValueError:
        file.close()
        raise
    return file


def open_own(path: Path, flags: int) -> int:
    """Open a file that tutelage changes in place; returns its descriptor. A new one may be created (``O_CREAT``).

    Never through a link: in a folder from a stranger it may lead to a file of the user's.

    Errors: ``ValueError`` that names the file and what it is; ``OSError``.
    """
    try:
        handle = os.open(path, flags | _NOFOLLOW | _NONBLOCK, 0o644)
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, not a file") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError(f"{path} is a link, not a file: delete it") from None
        raise (_socket_error(path) or error) from None
    try:
        _check_regular(path, handle)
    except ValueError:
        os.close(handle)
        raise
    return handle


def _socket_error(path: Path) -> ValueError | None:
    """The error for a socket, which cannot be opened at all; None for anything else."""
    return ValueError(f"{path} is a socket, not a file") if path.is_socket() else None


def _check_regular(path: Path, handle: int) -> None:
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a file")


def _without_waiting(path: str, flags: int) -> int:
    """Open a file without waiting for the other end of a pipe."""
    return os.open(path, flags | _NONBLOCK)


def read_regular(path: Path, limit: int = MAX_JSON) -> bytes:
    """Read a whole file of at most ``limit`` bytes.

    Errors: ``ValueError`` that names the file, if it is larger or no regular file; ``OSError``.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "note.json"
    >>> path.write_bytes(b"{}")
    2
    >>> read_regular(path)
    b'{}'
    """
    data = bytearray()
    with open_regular(path) as file:
        while block := file.read(1 << 16):  # a read of ``limit`` bytes would allocate as many
            data += block
            if len(data) > limit:
                raise ValueError(f"{path} has more than {limit} bytes, the limit for such a file")
    return bytes(data)
