"""Datasets decoded from the user's files, shared within a process as long as the files stay unchanged."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tutelage.data.dataset import Splits
from tutelage.data.npz import MAX_BYTES

MAX_DATASETS = 2
"""How many decoded datasets stay in memory; fewer if they exceed ``MAX_BYTES`` together."""
_FOLDER_DEPTH = 3  # train/<class>/<file>: what lies deeper belongs to no dataset

_lock = threading.Lock()
_decoded: dict[str, Splits] = {}  # by state of the files, the least recently used first


def decode_once(path: Path, read: Callable[[Path], Splits]) -> Splits:
    """Return ``read(path)``, or what it returned before if the files are still the same.

    The tensors are shared by all callers, who must not modify them.

    Errors: those of ``read``.
    """
    with _lock:
        state = file_state(path)
        if state in _decoded:
            _decoded[state] = splits = _decoded.pop(state)
            return splits
        _evict(MAX_DATASETS - 1)  # before reading, so that no more than MAX_DATASETS are ever in memory
        splits = read(path)
        if state is not None and state == file_state(path):  # else the files changed while they were read
            _decoded[state] = splits
            _evict(MAX_DATASETS)
        return splits


def clear() -> None:
    """Drop all decoded datasets, for instance before other processes need the memory."""
    with _lock:
        _decoded.clear()


def _evict(limit: int) -> None:
    """Drop the least recently used datasets beyond ``limit``, and all but one beyond ``MAX_BYTES``."""
    while len(_decoded) > limit or (len(_decoded) > 1 and sum(map(_size, _decoded.values())) > MAX_BYTES):
        del _decoded[next(iter(_decoded))]


def _size(splits: Splits) -> int:
    parts = (splits.train, splits.test, splits.holdout)
    return sum(part.images.nbytes for part in parts if part is not None)


def file_state(path: Path) -> str | None:
    """Identify the present state of a file, or of the files in a folder, without reading them.

    Formula: SHA-256 of the resolved path and, for each file, of its name, device, inode, size, and times of
    modification and status change in nanoseconds. Names that begin with a dot are ignored, as by the reader of
    folders.

    Returns None for a path that cannot be examined; reading it fails with a better message.
    """
    digest = hashlib.sha256(repr(str(path.resolve())).encode())
    try:
        status = path.stat()
        for line in _folder_lines(path, _FOLDER_DEPTH) if stat.S_ISDIR(status.st_mode) else [_identity(status)]:
            digest.update(line.encode())
    except OSError:
        return None
    return digest.hexdigest()


def _folder_lines(folder: Path | str, depth: int) -> Iterator[str]:
    with os.scandir(folder) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in visible:
        status = entry.stat()
        if not stat.S_ISDIR(status.st_mode):
            yield f"{entry.name!r} {_identity(status)}\n"
            continue
        yield f"{entry.name!r} {{\n"
        if depth > 1:
            yield from _folder_lines(entry.path, depth - 1)
        yield "}\n"


def _identity(status: os.stat_result) -> str:
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
