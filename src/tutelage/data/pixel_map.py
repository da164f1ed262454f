"""Intermediates decoded once: into memory, or into a file that every later start and every process maps."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from tutelage import storage
from tutelage.data.faults import BrokenFiles
from tutelage.data.pixels import DecodedPixels, Pixels, RaggedPixels, ragged_shapes
from tutelage.data.sources import where
from tutelage.engine import available_cores
from tutelage.validation import parse_json

Store = Literal["auto", "resident", "mapped", "decoded"]
SMALL = 16 * 2**20
"""Sets of fewer bytes are decoded into memory at each start, which takes a second or two."""
_CHUNK = 64 * 2**20
"""Bytes of a map after which it is flushed to disk: what a kill may cost."""
_WAIT = 24 * 3600.0
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How images that come from files are read; it changes no result.

    ``store`` is where they lie once they are decoded, by default :func:`store_for`. ``workers`` processes cut the
    views of the next batches: by default one for each core that a process has where images are decoded for every
    view, at most 8, and none otherwise; ``processes`` share the machine. ``progress`` is called with the numbers of
    files that are read and that there are.
    """

    store: Store = "auto"
    workers: int | None = None
    processes: int = 1
    progress: Progress = lambda *_: None

    def workers_for(self, store: Store) -> int:
        """The number of workers for images in this store."""
        share = max(1, min(8, available_cores() // self.processes)) if store == "decoded" else 0
        return share if self.workers is None else self.workers


def store_for(total: int, folder: Path) -> Store:
    """The store for intermediates of so many bytes: by the memory and the disk of this machine.

    Formula: resident for at most ``SMALL`` bytes; mapped if twice the bytes are free on disk; else resident in at
    most half of the available memory; else decoded.
    """
    if total <= SMALL:
        return "resident"
    if shutil.disk_usage(_existing(folder)).free >= 2 * total:
        return "mapped"
    return "resident" if 2 * total <= _available_memory() else "decoded"


def resident(decoded: DecodedPixels, sizes: np.ndarray, progress: Progress = lambda *_: None) -> RaggedPixels:
    """Decode all images into memory.

    Errors: ``ValueError`` that lists all files that cannot be decoded; ``MemoryError``.
    """
    shapes, offsets, total = ragged_shapes(sizes, decoded.preparation)
    buffer = torch.empty(total, dtype=torch.uint8)
    values = buffer.numpy()
    for row, image in _all_decoded(decoded, shapes, 0, progress):
        values[offsets[row] : offsets[row] + image.size] = image.reshape(-1)
    return RaggedPixels(buffer, shapes, offsets, decoded.preparation)


def mapped(
    decoded: DecodedPixels, sizes: np.ndarray, folder: Path, progress: Progress = lambda *_: None
) -> RaggedPixels:
    """Map the intermediates in ``folder``, which is named after the files' content; what is missing is decoded first.

    A build that was killed is continued. Another process that needs the same map waits for it.

    Errors: those of :func:`resident`; ``storage.NoSpace``; ``OSError``.
    """
    shapes, offsets, total = ragged_shapes(sizes, decoded.preparation)
    path = folder / "pixels"
    if not _is_finished(folder, len(shapes), total):
        with storage.lock(folder, wait=_WAIT):
            if not _is_finished(folder, len(shapes), total):
                _build(decoded, shapes, offsets, total, folder, progress)
    buffer = torch.from_file(str(path), shared=False, size=total, dtype=torch.uint8)
    return RaggedPixels(buffer, shapes, offsets, decoded.preparation)


def _build(
    decoded: DecodedPixels, shapes: np.ndarray, offsets: np.ndarray, total: int, folder: Path, progress: Progress
) -> None:
    path, count = folder / "pixels", len(offsets)
    start = _rows_built(folder, count) if path.exists() else 0
    handle = storage.open_own(path, os.O_RDWR | os.O_CREAT)
    try:
        with storage.explain_write_errors(path, total):
            os.truncate(handle, total)
            unsaved = 0
            for row, image in _all_decoded(decoded, shapes, start, progress):
                data = memoryview(image.tobytes())
                place = int(offsets[row])
                while data:
                    written = os.pwrite(handle, data, place)
                    data, place, unsaved = data[written:], place + written, unsaved + written
                if unsaved >= _CHUNK:
                    storage.sync(handle)
                    _note(folder, {"rows": row + 1})
                    unsaved = 0
            storage.sync(handle)
    finally:
        os.close(handle)
    _note(folder, {"rows": count, "bytes": total})


def _all_decoded(
    decoded: DecodedPixels, shapes: np.ndarray, start: int, progress: Progress
) -> Iterator[tuple[int, np.ndarray]]:
    """Decode images in order, on all cores; at the end an error lists all that could not be decoded."""

    def one(row: int) -> np.ndarray | str:
        try:
            image = decoded[row]
        except ValueError as error:
            return str(error)
        same = list(image.shape[:2]) == shapes[row].tolist()
        return image if same else f"{where(decoded.source, row)} has changed while it was read"

    workers, faults, count = min(16, available_cores()), list[str](), len(shapes)
    with ThreadPoolExecutor(workers) as pool:  # Pillow releases the interpreter's lock
        for first in range(start, count, 16 * workers):
            block = range(first, min(count, first + 16 * workers))
            for row, image in zip(block, pool.map(one, block), strict=True):
                if isinstance(image, str):
                    faults.append(image)
                elif not faults:
                    yield row, image
                progress(row + 1, count)
    if faults:
        raise BrokenFiles(faults)


def _note(folder: Path, content: dict[str, int]) -> None:
    storage.write_bytes(folder / "map.json", storage.json_bytes(content))


def _noted(folder: Path) -> dict[str, int]:
    try:
        content = parse_json(storage.read_regular(folder / "map.json"), "map.json")
    except (OSError, ValueError):  # none yet, or one that no build has finished
        return {}
    whole = isinstance(content, dict) and all(isinstance(value, int) for value in content.values())
    return content if whole else {}


def _rows_built(folder: Path, count: int) -> int:
    return max(0, min(_noted(folder).get("rows", 0), count))


def _is_finished(folder: Path, count: int, total: int) -> bool:
    path = folder / "pixels"
    return _noted(folder) == {"rows": count, "bytes": total} and path.is_file() and path.stat().st_size == total


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())


def _available_memory() -> int:
    """Bytes that a process may use without pushing others out of memory; 4 GiB where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return 4 * 2**30


def pixels_of(decoded: DecodedPixels, sizes: np.ndarray, folder: Path, store: Store, progress: Progress) -> Pixels:
    """The intermediates in a store of this kind."""
    if store == "mapped":
        return mapped(decoded, sizes, folder, progress)
    return decoded if store == "decoded" else resident(decoded, sizes, progress)
