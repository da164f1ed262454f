"""Open files that are held by their process: the kernel lets go of them when it ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from tutelage.storage.system import RENAMES_OPEN_FILES, try_lock

TEMPORARY = ".partial-"
_NAME = re.compile(rf"{re.escape(TEMPORARY)}\d+-\d+-.+", re.DOTALL)  # other programs have files that begin like ours


def hold(handle: int) -> bool:
    """Hold an open file until all copies of its handle are closed; False while somebody else holds it.

    Errors: ``OSError`` on a file system without locks.
    """
    return try_lock(handle)


@contextlib.contextmanager
def held(handle: int) -> Iterator[bool]:
    """Hold a new temporary file, closed or not, until the block ends; False where it was removed as abandoned."""
    if not RENAMES_OPEN_FILES:
        yield True
        return
    copy = os.dup(handle)
    try:
        is_held = True  # without locks nobody removes it either
        with contextlib.suppress(OSError):
            is_held = hold(copy) and os.fstat(copy).st_nlink > 0
        yield is_held
    finally:
        os.close(copy)


def remove_abandoned(folder: Path) -> None:
    """Delete the temporary files that processes left in a folder when they were killed; those in use are held.

    On Windows, where they cannot be held, nothing is deleted.
    """
    if not RENAMES_OPEN_FILES:
        return
    for path in folder.glob(f"{TEMPORARY}*"):
        if not _NAME.fullmatch(path.name):
            continue
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
            try:
                if hold(handle):
                    path.unlink(missing_ok=True)
            finally:
                os.close(handle)
