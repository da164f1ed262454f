"""Writing where the user said: to a file, through a link, or into a pipe, a terminal or a device."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from tutelage.storage.files import explain_write_errors, write_bytes

MAX_LINKS = 40
"""How many links are followed, as many as Linux follows."""


def is_regular(path: Path) -> bool:
    """Whether a path is that of a regular file, or of none yet; links are followed.

    >>> is_regular(Path("new.csv")), is_regular(Path(os.devnull))
    (True, False)
    """
    return _descriptor(path) is None and (not path.exists() or path.is_file())


def write_output(path: Path, data: bytes) -> None:
    """Write a file that the user named. A regular file, also one behind links, is replaced as a whole.

    Into anything else (a pipe, a terminal, a device) the bytes are written; it is never replaced. ``/dev/stdout`` and
    the like are written where this process writes, after what it has printed.

    Errors: :class:`NoSpace`; ``OSError`` from the disk, and from a pipe that nobody reads any more.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "link").symlink_to("table.csv")
    >>> write_output(folder / "link", b"a,b")
    >>> (folder / "table.csv").read_bytes(), (folder / "link").is_symlink()
    (b'a,b', True)
    """
    descriptor = _descriptor(path)
    if descriptor is None and is_regular(path):
        target = Path(os.path.realpath(path))
        if target.is_symlink():  # to itself: it would be replaced
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        write_bytes(target, data)
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with explain_write_errors(path, len(data)):
        try:
            handle = os.open(path, os.O_WRONLY) if descriptor is None else os.dup(descriptor)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
        except OSError as error:
            error.filename = str(path)  # what a descriptor refers to has no name
            raise


def _descriptor(path: Path) -> int | None:
    """The number of this process's open file that a path stands for, such as 1 for ``/dev/stdout``; None for others.

    Opening ``/dev/stdout`` anew would write from the beginning of the file that standard output goes to.
    """
    folders = [os.path.realpath(folder) for folder in ("/proc/self/fd", "/dev/fd")]
    for _ in range(MAX_LINKS):
        if path.name.isdecimal() and os.path.realpath(path.parent) in folders:
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None
