"""What operating systems do differently: locks on open files, and how a file or a folder is flushed to its disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:  # every other system
    msvcrt = None  # type: ignore[assignment]

LOCKED_BYTE = 1 << 30
"""Windows locks ranges of bytes, against reading too: this one lies behind anything that a lock file holds."""
RENAMES_OPEN_FILES = fcntl is not None
"""Whether a file that is open, and so may be locked, can be renamed or removed: not on Windows."""
_UNSUPPORTED = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY)


def try_lock(handle: int) -> bool:
    """Lock an open file against other processes; False if one of them holds the lock.

    The kernel releases the lock when the file is closed, and so when the process ends, however it ends.

    Errors: ``OSError`` from a file system that has no locks.
    """
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif msvcrt is not None:
            os.lseek(handle, LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:  # Python was built without fcntl, on a system that is not Windows
            os.lockf(handle, os.F_TLOCK, 0)
    except (BlockingIOError, PermissionError):
        return False
    return True


def sync(handle: int) -> None:
    """Flush an open file or folder to its disk, through the drive's own cache where the system can ask for that.

    On macOS ``fsync`` stops at the drive, and ``F_FULLFSYNC`` does not; a file system without it gets ``fsync``.

    Errors: ``OSError`` from the disk.
    """
    if fcntl is not None and hasattr(fcntl, "F_FULLFSYNC"):
        try:
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            return
        except OSError as error:  # a failure of the disk is reported once, so that fsync would not report it again
            if error.errno not in _UNSUPPORTED:
                raise
    os.fsync(handle)


def sync_names(folder: Path) -> None:
    """Flush the names in a folder to its disk; nothing on Windows, where no program can open a folder to ask for it.

    Errors: ``OSError`` from the disk.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        sync(handle)
    finally:
        os.close(handle)
