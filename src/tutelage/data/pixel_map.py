"""Intermediates decoded once: into memory, or into a file that every later start and every process maps."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from tutelage import storage
from tutelage.data.faults import BrokenFiles
from tutelage.data.maps import FREE_SPACE, NOTE, PIXELS, Note, mark_used, read_note, remove_map_files
from tutelage.data.pixels import DecodedPixels, Pixels, RaggedPixels, ragged_shapes
from tutelage.data.sources import where
from tutelage.engine import available_cores
from tutelage.progress import Progress, report

Store = Literal["auto", "resident", "mapped", "decoded"]
SMALL = 16 * 2**20
"""Sets of fewer bytes are decoded into memory at each start, which takes a second or two."""
_CHUNK = 64 * 2**20
"""Bytes of a map after which it is flushed to disk: what a kill may cost."""
_WAIT = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How images that come from files are read; it changes no result.

    ``store`` is where they lie once they are decoded, by default :func:`store_for`. ``workers`` processes cut the
    views of the next batches: by default one for each core that a process has where images are decoded for every
    view, at most 8, and none otherwise; ``processes`` share the machine. ``progress`` is called with the numbers of
    files that are read and that there are, by default that of :func:`tutelage.progress.reported_to`.
    """

    store: Store = "auto"
    workers: int | None = None
    processes: int = 1
    progress: Progress = report

    def workers_for(self, store: Store) -> int:
        """The number of workers for images in this store."""
        share = max(1, min(8, available_cores() // self.processes)) if store == "decoded" else 0
        return share if self.workers is None else self.workers


def store_for(total: int, folder: Path) -> Store:
    """The store for intermediates of so many bytes: by the memory and the disk of this machine.

    Formula: resident for at most ``SMALL`` bytes; mapped if the map is in ``folder`` already, or twice the bytes are
    free on disk; else resident in at most half of the available memory; else decoded.
    """
    if total <= SMALL:
        return "resident"
    note = read_note(folder)
    if note is not None and note.finished and note.bytes == total:
        return "mapped"
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

    Errors: those of :func:`resident`; ``storage.NoSpace``, after which nothing of the map is left; ``OSError``.
    """
    shapes, offsets, total = ragged_shapes(sizes, decoded.preparation)
    path = folder / PIXELS
    if not _is_finished(folder, len(shapes), total):
        with storage.lock(folder, wait=_WAIT) as in_place:
            in_place()  # whoever removes maps may have come first
            if not _is_finished(folder, len(shapes), total):
                try:
                    _build(decoded, shapes, offsets, total, folder, progress)
                except storage.NoSpace as error:
                    remove_map_files(folder)
                    raise storage.NoSpace(f"{error}: {FREE_SPACE}") from None
    buffer = torch.from_file(str(path), shared=False, size=total, dtype=torch.uint8)
    mark_used(folder)
    return RaggedPixels(buffer, shapes, offsets, decoded.preparation)


def _build(
    decoded: DecodedPixels, shapes: np.ndarray, offsets: np.ndarray, total: int, folder: Path, progress: Progress
) -> None:
    path, count = folder / PIXELS, len(offsets)
    start = _rows_built(folder, count, total) if path.exists() else 0
    if not start:  # what a note says of a file that is gone must not be believed of the next one
        storage.remove_file(folder / NOTE)

    def note(rows: int) -> None:
        _note(folder, Note.of(decoded, rows=rows, images=count, bytes=total))

    handle = storage.open_own(path, os.O_RDWR | os.O_CREAT)
    try:
        with storage.explain_write_errors(path, total):
            os.truncate(handle, total)
            unsaved = 0
            for row, image in _all_decoded(decoded, shapes, start, progress):
                storage.write_at(handle, image.data.cast("B"), int(offsets[row]))
                unsaved += image.size
                if unsaved >= _CHUNK and row + 1 < count:
                    storage.sync_written(handle)
                    note(row + 1)
                    unsaved = 0
            storage.sync_written(handle)
    finally:
        os.close(handle)
    note(count)


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
    ahead = deque[Future[np.ndarray | str]]()  # enough to keep all workers busy while the map is flushed to disk
    with ThreadPoolExecutor(workers) as pool:  # Pillow releases the interpreter's lock
        for row in range(start, count):
            while len(ahead) < min(32 * workers, count - row):
                ahead.append(pool.submit(one, row + len(ahead)))
            image = ahead.popleft().result()
            if isinstance(image, str):
                faults.append(image)
            elif not faults:
                yield row, image
            progress(row + 1, count)
    if faults:
        raise BrokenFiles(faults, decoded.source.path)


def _note(folder: Path, note: Note) -> None:
    storage.write_bytes(folder / NOTE, storage.json_bytes(asdict(note)))


def _rows_built(folder: Path, count: int, total: int) -> int:
    note = read_note(folder)
    return note.rows if note is not None and (note.images, note.bytes) == (count, total) else 0


def _is_finished(folder: Path, count: int, total: int) -> bool:
    note, path = read_note(folder), folder / PIXELS
    return (
        note is not None
        and (note.rows, note.images, note.bytes) == (count, count, total)
        and path.is_file()
        and path.stat().st_size == total
    )


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
