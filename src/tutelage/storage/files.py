"""A file, written whole or not at all: its name appears only after its bytes are on disk."""

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
from typing import Any

from tutelage.storage.errors import NoSpace

TEMPORARY = ".partial-"


class Operations:
    """Counts durable operations, and dies at the one that ``TUTELAGE_FAULT=kill@N`` names (for the fault tests).

    ``stop@N`` freezes the process there (SIGSTOP) instead.
    """

    count = 0

    @classmethod
    def step(cls) -> None:
        """Tell of the next operation, just before it."""
        cls.count += 1
        fault, _, at = os.environ.get("TUTELAGE_FAULT", "").partition("@")
        if at == f"{cls.count}":
            os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[fault])


@contextlib.contextmanager
def told_of(path: Path, needed: int) -> Iterator[None]:
    """Make an ``OSError`` of writing ``needed`` bytes name that file, not a temporary one.

    Errors: :class:`NoSpace` in the place of what a full disk, a quota or a limit on sizes of files raises.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if TEMPORARY in str(error.filename):
                error.filename, error.filename2 = str(path), None
            raise
        free = shutil.disk_usage(next(folder for folder in path.parents if folder.exists())).free
        why = "" if error.errno == errno.ENOSPC else f" ({os.strerror(error.errno).lower()})"
        needs = f"needs {needed:,} bytes" if needed else "cannot be written"
        raise NoSpace(f"no space{why}: {path} {needs}, {free:,} bytes are free there") from None


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing; each has its name on disk before the next is made.

    Errors: ``NotADirectoryError`` that names what stands in the way; :class:`NoSpace`; ``OSError``.
    """
    try:
        with told_of(folder, 0):
            _make_folder(folder)
    except (FileExistsError, NotADirectoryError):
        way = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        raise NotADirectoryError(f"{way} is not a folder") from None


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        with contextlib.suppress(OSError):  # of a folder that is not ours
            sync_folder(folder.parent)  # whoever made it may have been killed before this
        return
    _make_folder(folder.parent)
    Operations.step()
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


_writing: set[Path] = set()


def abandon() -> None:
    """Delete the temporary files of this process, which is about to end with writes under way."""
    for temporary in tuple(_writing):
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk."""
    Operations.step()
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes | Iterable[bytes]) -> tuple[int, str]:
    """Write a file whole or not at all; returns its size and SHA-256. Makes the folders above it.

    Errors: :class:`NoSpace`; ``OSError`` from the disk. What stood under the name before is then still there, and
    nothing of the temporary file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "deep" / "note.txt"
    >>> write_bytes(path, b"kept")[0], path.read_bytes()
    (4, b'kept')
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{time.monotonic_ns()}-{path.name}"[:200])
    digest, size = hashlib.sha256(), 0
    if not path.parent.is_dir():
        make_folder(path.parent)
    with told_of(path, len(data) if isinstance(data, bytes) else 0):
        _writing.add(temporary)
        try:
            with temporary.open("xb") as file:
                Operations.step()
                for block in (data,) if isinstance(data, bytes) else data:
                    file.write(block)
                    digest.update(block)
                    size += len(block)
                file.flush()
                Operations.step()
                os.fsync(file.fileno())
            Operations.step()
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        finally:
            _writing.discard(temporary)
        sync_folder(path.parent)
    return size, digest.hexdigest()


def json_bytes(value: Any) -> bytes:
    """JSON as it stands on disk: sorted keys, two spaces, finite numbers only."""
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()
