"""Atomic writing of files: a file's name appears only after its bytes are on disk."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tutelage.storage.errors import NoSpace
from tutelage.storage.holds import TEMPORARY, held, remove_abandoned
from tutelage.storage.system import sync, sync_names


class Operations:
    """Counts durable operations. For the fault tests, ``TUTELAGE_FAULT=kill@N`` kills the process at operation N.

    ``stop@N`` freezes it there (SIGSTOP) instead.
    """

    count = 0

    @classmethod
    def step(cls) -> None:
        """Count an operation; to be called just before it."""
        cls.count += 1
        fault, _, at = os.environ.get("TUTELAGE_FAULT", "").partition("@")
        if at == f"{cls.count}":
            os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[fault])


@contextlib.contextmanager
def explain_write_errors(path: Path, needed: int) -> Iterator[None]:
    """Make any ``OSError`` of writing ``needed`` bytes name this file instead of its temporary file.

    Errors: :class:`NoSpace` instead of the error of a full disk, a quota, or a limit on file sizes.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if TEMPORARY in str(error.filename):
                raise OSError(error.errno, error.strerror, str(path)) from None
            raise
        free = shutil.disk_usage(next(folder for folder in path.parents if folder.exists())).free
        reason = "" if error.errno == errno.ENOSPC else f" ({os.strerror(error.errno).lower()})"
        problem = f"needs {needed:,} bytes" if needed else "cannot be written"
        raise NoSpace(f"no space{reason}: {path} {problem}, {free:,} bytes are free there") from None


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents; each one's name is on disk before the next is created.

    Errors: ``NotADirectoryError`` that names the file in the way; :class:`NoSpace`; ``OSError``.
    """
    try:
        with explain_write_errors(folder, 0):
            _make_folder(folder)
    except (FileExistsError, NotADirectoryError):
        obstacle = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        raise NotADirectoryError(f"{obstacle} is not a folder") from None


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        with contextlib.suppress(OSError):  # the parent may belong to someone else
            sync_folder(folder.parent)  # the process that created it may have been killed before doing so
        return
    _make_folder(folder.parent)
    Operations.step()
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


_temporary_files: set[Path] = set()


def remove_temporary_files() -> None:
    """Delete the temporary files of this process, which is about to exit in the middle of a write."""
    for temporary in tuple(_temporary_files):
        temporary.unlink(missing_ok=True)


def remove_file(path: Path) -> None:
    """Delete a file, if it exists; afterwards it does not come back."""
    Operations.step()
    path.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk."""
    Operations.step()
    sync_names(folder)


def write_at(handle: int, data: bytes | memoryview, place: int) -> None:
    """Write bytes into an open file that grows or is filled in place.

    Errors: ``OSError`` from the disk.
    """
    Operations.step()
    rest = memoryview(data)
    while rest:
        written = os.pwrite(handle, rest, place)
        rest, place = rest[written:], place + written


def sync_written(handle: int) -> None:
    """Flush what :func:`write_at` has written to disk.

    Errors: ``OSError`` from the disk.
    """
    Operations.step()
    sync(handle)


def write_bytes(path: Path, data: bytes | Iterable[bytes]) -> tuple[int, str]:
    """Write a file atomically, creating its parent folders; returns its size and SHA-256.

    What killed processes left half-written in its folder is removed.

    Errors: :class:`NoSpace`; ``OSError`` from the disk. An earlier file of that name is then unchanged, and the
    temporary file removed.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "deep" / "note.txt"
    >>> write_bytes(path, b"text")[0], path.read_bytes()
    (4, b'text')
    """
    digest, size = hashlib.sha256(), 0
    if not path.parent.is_dir():
        make_folder(path.parent)
    remove_abandoned(path.parent)
    with explain_write_errors(path, len(data) if isinstance(data, bytes) else 0):
        with _temporary_file(path) as (file, temporary):
            Operations.step()
            for block in (data,) if isinstance(data, bytes) else data:
                file.write(block)
                digest.update(block)
                size += len(block)
            file.flush()
            Operations.step()
            sync(file.fileno())
            file.close()
            Operations.step()
            temporary.replace(path)
        sync_folder(path.parent)
    return size, digest.hexdigest()


@contextlib.contextmanager
def _temporary_file(path: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file beside ``path`` that is held until the block ends, and removed if that fails."""
    with contextlib.ExitStack() as on_exit:
        while True:
            temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{time.monotonic_ns()}-{path.name}"[:200])
            _temporary_files.add(temporary)
            on_exit.callback(_temporary_files.discard, temporary)
            file = on_exit.enter_context(temporary.open("xb"))
            if on_exit.enter_context(held(file.fileno())):
                break
            temporary.unlink(missing_ok=True)
        try:
            yield file, temporary
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def json_bytes(value: Any) -> bytes:
    """Encode a value as the JSON that is stored: sorted keys, two spaces of indentation, finite numbers only."""
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()
