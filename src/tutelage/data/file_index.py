"""What is known of image files without decoding them: digest, size and kind, read once and kept in an index.

What the index says of a file is believed while its size, its time of modification in nanoseconds and its inode are
unchanged. Files that are no images are not in it: they are examined again each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tutelage import storage
from tutelage.data.decode import peak, read_header
from tutelage.data.sources import Source, where
from tutelage.engine import available_cores

GRAY, DEEP = 1, 2
"""Flags: an image is gray; it has 16 bits."""
_FEW = 1000
"""Fewer files are examined faster than an index is read and written."""
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """What was found in the files of a source, in its order.

    Shapes: ``digests`` uint8 ``[N, 32]``, the SHA-256 of each file; ``sizes`` int32 ``[N, 2]``, width and height of
    the upright image; ``kinds`` uint8 ``[N]``, flags; ``peaks`` int32 ``[N]``, the highest value of an image with 16
    bits, else 0. ``faults`` says of each file that is no image what is wrong with it, by row.
    """

    digests: np.ndarray
    sizes: np.ndarray
    kinds: np.ndarray
    peaks: np.ndarray
    faults: dict[int, str]

    @classmethod
    def none(cls, count: int) -> Files:
        """Room for so many files."""
        return cls(
            np.zeros((count, 32), np.uint8),
            np.zeros((count, 2), np.int32),
            np.zeros(count, np.uint8),
            np.zeros(count, np.int32),
            {},
        )

    def columns(self) -> tuple[np.ndarray, ...]:
        """The arrays, in order."""
        return self.digests, self.sizes, self.kinds, self.peaks


def examine(
    source: Source, folder: Path | None, again: bool = False, progress: Callable[[int, int], None] = lambda *_: None
) -> Files:
    """Examine the files of a source; what the index in ``folder`` knows is not read, unless ``again``.

    ``progress`` is called with the numbers of files that have been read and that are to be read.

    Errors: ``OSError`` for an index that cannot be written.
    """
    count = len(source.names)
    files, stamps = Files.none(count), source.stamps()
    path = None if folder is None or count < _FEW else folder / f"{_name(source)}.safetensors"
    known = np.zeros(count, bool) if again or path is None else _load(path, source, stamps, files)
    missing = np.flatnonzero(~known).tolist()
    with ThreadPoolExecutor(min(8, available_cores())) as pool:  # hashing and reading release the interpreter's lock
        for done, (row, fault) in enumerate(
            zip(missing, pool.map(_examiner(source, files), missing), strict=True), 1
        ):
            if fault:
                files.faults[row] = fault
            progress(done, len(missing))
    if missing and path is not None:
        _save(path, source, stamps, files)
    return files


def _examiner(source: Source, files: Files) -> Callable[[int], str]:
    """Examine a file and note what it is; returns what is wrong with it, or nothing."""

    def examine_one(row: int) -> str:
        try:
            with source.open(row) as file:
                digest = hashlib.sha256()
                while block := file.read(_BLOCK):
                    digest.update(block)
                header = read_header(file, where(source, row))
                if header.deep:
                    files.peaks[row] = peak(file, where(source, row))
        except ValueError as error:
            return str(error)
        except OSError as error:
            return f"{where(source, row)} cannot be read: {error.strerror or error}"
        files.digests[row] = np.frombuffer(digest.digest(), np.uint8)
        files.sizes[row] = header.width, header.height
        files.kinds[row] = GRAY * header.gray + DEEP * header.deep
        return ""

    return examine_one


def _name(source: Source) -> str:
    return hashlib.sha256(str(source.path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _load(path: Path, source: Source, stamps: np.ndarray, files: Files) -> np.ndarray:
    """Fill in what an index knows of unchanged files; returns which ones, bool ``[N]``."""
    known = np.zeros(len(source.names), bool)
    try:
        stored = storage.read_tensors(path)
        names = bytes(stored["names"].numpy()).decode("utf-8", "surrogateescape").split("\0")
        columns = [stored[name].numpy() for name in ("digests", "sizes", "kinds", "peaks")]
        old_stamps = stored["stamps"].numpy()
        shapes = [(column.dtype, column.shape[1:], len(column)) for column in (*columns, old_stamps)]
        expected = [(each.dtype, each.shape[1:], len(names)) for each in (*files.columns(), stamps)]
        if shapes != expected:
            return known
    except (FileNotFoundError, ValueError, KeyError):  # none yet, or a damaged one: it is written again
        return known
    places = {name: place for place, name in enumerate(names)}
    old = np.array([places.get(name, -1) for name in source.names], np.int64)
    known = (old >= 0) & (old_stamps[old] == stamps).all(1) if len(names) else known
    for column, values in zip(files.columns(), columns, strict=True):
        column[known] = values[old[known]]
    return known


def _save(path: Path, source: Source, stamps: np.ndarray, files: Files) -> None:
    rows = [row for row in range(len(source.names)) if row not in files.faults]
    names = "\0".join(source.names[row] for row in rows).encode("utf-8", "surrogateescape")
    columns = zip(("digests", "sizes", "kinds", "peaks"), files.columns(), strict=True)
    tensors = {name: torch.from_numpy(column[rows]) for name, column in columns}
    tensors["stamps"] = torch.from_numpy(stamps[rows])
    tensors["names"] = (
        torch.frombuffer(bytearray(names), dtype=torch.uint8) if names else torch.zeros(0, dtype=torch.uint8)
    )
    storage.write_bytes(path, storage.tensor_bytes(tensors))
