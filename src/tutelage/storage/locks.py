"""Locking of folders between processes; the kernel releases a lock when its holder dies."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tutelage.errors import printable
from tutelage.storage.errors import InUse
from tutelage.storage.files import explain_write_errors, make_folder
from tutelage.storage.holds import TEMPORARY, hold
from tutelage.storage.regular import open_own

ANNOUNCE_SECONDS = 1.0
"""The time after which a process that waits for a lock says so."""

_handles: set[int] = set()
"""The open lock files of this process."""

_logger = logging.getLogger("tutelage")  # without a handler of the user's, its warnings go to standard error


@contextlib.contextmanager
def lock(folder: Path, wait: float = 1.0) -> Iterator[Callable[[], None]]:
    """Lock a folder against other processes for the ``with`` block; the kernel releases it if this process dies.

    Yields a function that checks that the locked folder is still in place, and raises ``FileNotFoundError`` if not.
    A folder that was deleted, or whose disk was unmounted, would otherwise be silently created again by the next
    write, without a lock. Whoever waits for more than a second says for whom.

    Errors: :class:`InUse` after ``wait`` seconds, naming the holder; ``OSError`` for a folder that cannot be
    written; ``ValueError`` for anything but a file in the place of the lock.
    """
    make_folder(folder)
    path = folder / ".lock"
    with explain_write_errors(path, 0):
        handle = open_own(path, os.O_RDWR | os.O_CREAT)
    _handles.add(handle)

    def check() -> None:
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(handle)):
            raise FileNotFoundError(f"{folder} was deleted or replaced: nothing more is written there")

    try:
        _acquire(handle, folder, wait)
        for stale in folder.rglob(f"{TEMPORARY}*"):
            stale.unlink(missing_ok=True)
        holder = f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        with explain_write_errors(path, len(holder)):
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, holder.encode())
        yield check
    finally:
        _close(handle)


def _close(handle: int) -> None:
    if handle in _handles:
        _handles.remove(handle)
        os.close(handle)


def _close_all() -> None:
    """Close the lock files that a forked process has of its parent, or it would hold their locks beyond it."""
    for handle in tuple(_handles):
        _close(handle)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_all)


def _acquire(handle: int, folder: Path, wait: float) -> None:
    start, announced = time.monotonic(), False
    while not hold(handle):
        os.lseek(handle, 0, os.SEEK_SET)
        holder = printable(os.read(handle, 200).decode(errors="replace")) or "another process"
        waited = time.monotonic() - start
        if waited > wait:
            raise InUse(f"{folder} is in use by {holder}") from None
        if not announced and wait > waited >= ANNOUNCE_SECONDS:
            announced = True
            _logger.warning(
                "waiting for %s, which uses %s, for up to %s: wait, end that process to go on at once, or stop this "
                "one (Ctrl-C) and repeat it later",
                holder,
                printable(str(folder)),
                f"{wait / 60:.0f} minutes" if wait >= 120 else f"{wait:.0f} s",
            )
        time.sleep(0.05)
