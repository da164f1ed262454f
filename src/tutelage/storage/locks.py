"""Locking of folders between processes; the kernel releases a lock when its holder dies."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tutelage.storage.errors import InUse
from tutelage.storage.files import TEMPORARY, explain_write_errors, make_folder
from tutelage.storage.system import try_lock


@contextlib.contextmanager
def lock(folder: Path, wait: float = 1.0) -> Iterator[Callable[[], None]]:
    """Lock a folder against other processes for the ``with`` block; the kernel releases it if this process dies.

    Yields a function that checks that the locked folder is still in place, and raises ``FileNotFoundError`` if not.
    A folder that was deleted, or whose disk was unmounted, would otherwise be silently created again by the next
    write, without a lock.

    Errors: :class:`InUse` after ``wait`` seconds, naming the holder; ``OSError`` for a folder that cannot be
    written.
    """
    make_folder(folder)
    path = folder / ".lock"
    with explain_write_errors(path, 0):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def check() -> None:
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(handle)):
            raise FileNotFoundError(f"{folder} was deleted or replaced: nothing more is written there")

    try:
        deadline = time.monotonic() + wait
        while not try_lock(handle):
            if time.monotonic() > deadline:
                os.lseek(handle, 0, os.SEEK_SET)
                holder = os.read(handle, 200).decode(errors="replace") or "another process"
                raise InUse(f"{folder} is in use by {holder}")
            time.sleep(0.05)
        for stale in folder.rglob(f"{TEMPORARY}*"):
            stale.unlink(missing_ok=True)
        holder = f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        with explain_write_errors(path, len(holder)):
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, holder.encode())
        yield check
    finally:
        os.close(handle)
