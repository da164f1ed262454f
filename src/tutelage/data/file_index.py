"""What is known of image files: digest, size and kind, read once and kept in an index.

What the index says of a file is believed while its size, its time of modification in nanoseconds and its inode are
unchanged. A file whose header cannot be read is not in it, and is examined again each time; one that turned out to be
broken as it was decoded is, with the reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tutelage import storage
from tutelage.data.decode import PROBE, decode, peak, read_header
from tutelage.data.sources import Source, where
from tutelage.engine import available_cores

GRAY, DEEP, TURNED, TRANSPARENT, WHOLE, BROKEN = 1, 2, 4, 8, 16, 32
"""Flags: an image is gray; has 16 bits; is not stored upright; may be transparent; was decoded; cannot be decoded."""
_FEW = 1000
"""Fewer files are examined, unless they are decoded too, faster than an index is read and written."""
_BLOCK = 1 << 20
_TASKS = 4096
"""Files that the threads are handed at once: each costs a kilobyte until it is examined, a million a gigabyte."""


@dataclass(frozen=True, slots=True, eq=False)
class Files:
    """What was found in the files of a source, in its order.

    Shapes: ``digests`` uint8 ``[N, 32]``, the SHA-256 of each file; ``sizes`` int32 ``[N, 2]``, width and height of
    the upright image; ``kinds`` uint8 ``[N]``, flags; ``peaks`` int32 ``[N]``, the highest value of an image with 16
    bits, else 0. ``faults`` says of each file that cannot be used what is wrong with it, by row.
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

    def subset(self, rows: Sequence[int]) -> Files:
        """The given rows, in that order, none of which is at fault."""
        return Files(self.digests[rows], self.sizes[rows], self.kinds[rows], self.peaks[rows], {})


def examine(
    source: Source,
    folder: Path | None,
    again: bool = False,
    decoding: bool = False,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Files:
    """Examine the files of a source; what the index in ``folder`` knows is not read, unless ``again``.

    With ``decoding`` each file is decoded too, at the smallest scale: no other way tells whether it is whole.

    ``progress`` is called with the numbers of files that have been read and that are to be read.

    Errors: ``OSError`` for an index that cannot be written.
    """
    count = len(source.names)
    files, stamps = Files.none(count), source.stamps()
    path = None if folder is None or (count < _FEW and not decoding) else folder / f"{_name(source)}.safetensors"
    known = np.zeros(count, bool) if again or path is None else _load(path, source, stamps, files)
    if decoding:
        known &= (files.kinds & (WHOLE | BROKEN)) != 0
    missing = np.flatnonzero(~known).tolist()
    examine_one = _examiner(source, files, decoding)
    with ThreadPoolExecutor(min(8, available_cores())) as pool:  # hashing and reading release the interpreter's lock
        for start in range(0, len(missing), _TASKS):
            block = missing[start : start + _TASKS]
            faults = zip(block, pool.map(examine_one, block), strict=True)
            for done, (row, fault) in enumerate(faults, start + 1):
                if fault:
                    files.faults[row] = fault
                progress(done, len(missing))
    if missing and path is not None:
        _save(path, source, stamps, files)
    return files


def _examiner(source: Source, files: Files, decoding: bool) -> Callable[[int], str]:
    """Examine a file and note what it is; returns what is wrong with it, or nothing."""

    def examine_one(row: int) -> str:
        name, flags = where(source, row), 0
        try:
            with source.open(row) as file:
                digest = hashlib.sha256()
                while block := file.read(_BLOCK):
                    digest.update(block)
                header = read_header(file, name)
                files.digests[row] = np.frombuffer(digest.digest(), np.uint8)
                files.sizes[row] = header.width, header.height
                flags = GRAY * header.gray + DEEP * header.deep
                flags += TURNED * header.turned + TRANSPARENT * header.transparent
                if decoding or header.deep:
                    flags += BROKEN
                    if decoding:
                        decode(file, PROBE, name)
                    if header.deep:
                        files.peaks[row] = peak(file, name)
                    flags += WHOLE - BROKEN
        except ValueError as error:
            if str(error).endswith(": MemoryError"):
                flags &= ~BROKEN  # it may be whole, and is decoded again the next time
            return str(error)
        except OSError as error:
            flags &= ~BROKEN
            return f"{name} cannot be read: {error.strerror or error}"
        finally:
            files.kinds[row] = flags
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
        faults = bytes(stored["faults"].numpy()).decode("utf-8", "surrogateescape").split("\0")
        columns = [stored[name].numpy() for name in ("digests", "sizes", "kinds", "peaks")]
        old_stamps = stored["stamps"].numpy()
        shapes = [(column.dtype, column.shape[1:], len(column)) for column in (*columns, old_stamps)]
        expected = [(each.dtype, each.shape[1:], len(names)) for each in (*files.columns(), stamps)]
        broken = np.flatnonzero(columns[2] & BROKEN).tolist() if shapes == expected else []
        if shapes != expected or len(faults) != max(1, len(broken)):
            return known
    except (FileNotFoundError, ValueError, KeyError):  # none yet, or a damaged one: it is written again
        return known
    places = {name: place for place, name in enumerate(names)}
    old = np.array([places.get(name, -1) for name in source.names], np.int64)
    known = (old >= 0) & (old_stamps[old] == stamps).all(1) if len(names) else known
    for column, values in zip(files.columns(), columns, strict=True):
        column[known] = values[old[known]]
    reasons = dict(zip(broken, faults, strict=False))
    for row in np.flatnonzero(known & ((files.kinds & BROKEN) != 0)).tolist():
        files.faults[row] = f"{where(source, row)}{reasons[int(old[row])]}"
    return known


def _save(path: Path, source: Source, stamps: np.ndarray, files: Files) -> None:
    broken = (files.kinds & BROKEN) != 0
    rows = [row for row in range(len(source.names)) if row not in files.faults or broken[row]]
    reasons = (files.faults[row].removeprefix(where(source, row)) for row in np.flatnonzero(broken).tolist())
    columns = zip(("digests", "sizes", "kinds", "peaks"), files.columns(), strict=True)
    tensors = {name: torch.from_numpy(column[rows]) for name, column in columns}
    tensors["stamps"] = torch.from_numpy(stamps[rows])
    tensors["names"] = _as_bytes(source.names[row] for row in rows)
    tensors["faults"] = _as_bytes(reason.replace("\0", " ") for reason in reasons)
    storage.write_bytes(path, storage.tensor_bytes(tensors))


def _as_bytes(texts: Iterable[str]) -> torch.Tensor:
    data = "\0".join(texts).encode("utf-8", "surrogateescape")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.zeros(0, dtype=torch.uint8)
