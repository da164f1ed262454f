"""Rows of logits on disk, each filed under a number; written once, by whoever computes them first."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from tutelage import storage
from tutelage.serialization import digest, to_json
from tutelage.teachers.blocks import BLOCKS, extent, make_block, open_block
from tutelage.validation import parse_json

__all__ = ["LogitStore"]

FORMAT = 1
BLOCK_BYTES, LEAST_ROWS = 1 << 24, 1 << 12
"""How much is written together at the most; and so many rows in any case."""
FLUSH_SECONDS = 60.0
"""How long a computed row may be only in memory; a kill costs the teacher's work of that time."""
RETRY_SECONDS = 10.0
"""How long to leave a store alone that another process would not let go of."""


class LogitStore:
    """Rows of logits under the keys 0 to ``size - 1``; any number of processes may read and fill one store.

    ``made_of`` names all that decides the logits: its digest names the store's folder below ``root``, so another
    teacher, dataset or augmentation is another store. Rows are kept as ``dtype``; float16 rounds,
    ``|stored - x| <= 2^-11 |x| + 2^-25``, and the wider ones keep only what survives them bit for bit.

    Rows lie in one file, appended in blocks and never moved or changed. A block is there once its own small file is:
    its keys, and a SHA-256 over them and its rows, written after the rows are on disk. Blocks are checked as they are
    opened; a damaged one is set aside, with a warning, and its rows count as missing.

    Errors: ``storage.Damaged`` for a folder that holds another store than its name says; ``OSError``.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> with LogitStore(root, {"teacher": "a"}, size=9, num_classes=2) as store:
    ...     kept = store.write(torch.tensor([7]), torch.tensor([[1.0, 0.1]]))
    >>> values, known = LogitStore(root, {"teacher": "a"}, size=9, num_classes=2).read(torch.tensor([7, 8]))
    >>> known.tolist(), [round(value, 5) for value in values[0].tolist()]
    ([True, False], [1.0, 0.09998])
    """

    def __init__(
        self,
        root: Path,
        made_of: Mapping[str, object],
        *,
        size: int,
        num_classes: int,
        dtype: torch.dtype = torch.float16,
        warn: Callable[[str], object] = print,
    ) -> None:
        if dtype not in (torch.float16, torch.bfloat16, torch.float32):
            raise ValueError(f"a store keeps float16, bfloat16 or float32, not {dtype}")
        assert 0 < size < 2**31
        self.size, self.num_classes, self.dtype, self.warn = size, num_classes, dtype, warn
        shape = {"format": FORMAT, "size": size, "num_classes": num_classes, "dtype": str(dtype)}
        described = to_json(shape | {"made_of": dict(made_of)})
        self.folder = root / digest(described)[:24]
        _describe(self.folder / "store.json", described)
        self._row_bytes = num_classes * dtype.itemsize
        self._seen: set[tuple[str, int, int]] = set()
        # The place of each row in the file; -1 where there is none; -2 - i for row i of the tail, not yet written.
        self._places = torch.full((size,), -1, dtype=torch.int32)
        most = min(size, max(BLOCK_BYTES // self._row_bytes, LEAST_ROWS))
        self._tail = torch.empty((most, num_classes), dtype=dtype)
        self._tail_keys = torch.empty(most, dtype=torch.int64)
        self._count, self._writable = 0, True
        self._flushed, self._rests_until = time.monotonic(), 0.0
        self._open_blocks()

    def __enter__(self) -> LogitStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        elif not issubclass(kind, OSError):  # of a stop or a fault; where the disk failed nothing more is written
            self.close(wait=2.0)

    @property
    def keys(self) -> Tensor:
        """The keys of the rows that are there, int64 ``[n]``, in order."""
        return (self._places != -1).nonzero()[:, 0]

    def read(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of some keys (int64 ``[B]``): float32 ``[B, K]``, and whether each was there, bool ``[B]``."""
        places = self._places[keys]
        known = places != -1
        written = places >= 0
        if written.all():
            return self._table.index_select(0, places).float(), known
        values = torch.zeros((len(keys), self.num_classes), dtype=self.dtype)
        values[written] = self._table.index_select(0, places[written])
        waiting = known & ~written
        values[waiting] = self._tail.index_select(0, -2 - places[waiting])
        return values.float(), known

    def write(self, keys: Tensor, logits: Tensor) -> Tensor:
        """Keep rows that are not there yet, float32 ``[B, K]``; returns them as they will be read.

        A row that ``dtype`` cannot hold is not kept, and comes back as it is.

        Errors: ``ValueError`` where bfloat16 would round.
        """
        rows = logits.to(self.dtype)
        read = rows.float()
        fits = read.isfinite().all(1)
        if self.dtype is torch.bfloat16 and not torch.equal(read[fits], logits[fits]):
            raise ValueError("this teacher's logits are more precise than bfloat16: keep them as float32 or float16")
        if self._writable:
            now = time.monotonic()
            full = self._count + len(keys) > len(self._tail)
            if (full or now - self._flushed > FLUSH_SECONDS) and now >= self._rests_until:
                self.flush()
            new = fits & (self._places[keys] == -1)
            here = slice(self._count, self._count + int(new.sum()))
            if here.stop <= len(self._tail):  # else another process writes for long: these rows are asked for again
                self._tail[here], self._tail_keys[here] = rows[new], keys[new]
                self._places[keys[new]] = -2 - torch.arange(here.start, here.stop, dtype=torch.int32)
                self._count = here.stop
        return torch.where(fits[:, None], read, logits)

    def flush(self, wait: float = 1.0) -> None:
        """Write what is only in memory, and see what other processes have written.

        Where another process writes for longer than ``wait`` seconds, it stays in memory until the next time. A
        full or failing disk ends the filling with a warning, not the training.
        """
        try:
            with storage.lock(self.folder, wait):
                self._open_blocks()
                tail = self._tail_keys[: self._count]
                left = (self._places[tail] < -1).nonzero()[:, 0]  # others may have written the same rows
                if len(left):
                    order = left[tail[left].argsort()]
                    self._append(tail[order], self._tail[order])
                    self._open_blocks()
        except storage.InUse:
            self._rests_until = time.monotonic() + RETRY_SECONDS
            return
        except OSError as error:
            self.warn(f"the teacher's logits are not kept any more: {error}")
            self._writable = False
            return
        self._places[tail[self._places[tail] < -1]] = -1
        self._count, self._flushed = 0, time.monotonic()

    def close(self, wait: float = 30.0) -> None:
        """Write what is only in memory, waiting so many seconds for another process that writes."""
        if self._count and self._writable:
            self.flush(wait)
            if self._count and self._writable:
                self.warn(f"{self._count} rows of the teacher's logits are lost: {self.folder} stayed in use")

    def _append(self, keys: Tensor, rows: Tensor) -> None:
        """Rows first, then the file that makes them a block; the lock is held."""
        # The end of the last block, not of the file: what lies behind it was cut short. Damaged blocks count.
        if not (self.folder / "rows").exists():
            storage.write_bytes(self.folder / "rows", b"")  # its name is on disk before any block speaks of it
        there = (self.folder / "rows").stat().st_size // self._row_bytes
        ends = [sum(extent(path) or (0, 0)) for path in self.folder.glob(f"{BLOCKS}*")]
        start = max((end for end in ends if end <= there), default=0)
        data = rows.view(torch.uint8).numpy().tobytes()
        with (self.folder / "rows").open("r+b", buffering=0) as file:
            try:
                with storage.told_of(self.folder / "rows", len(data)):
                    file.seek(start * self._row_bytes)
                    left = memoryview(data)
                    while left:
                        left = left[file.write(left) :]
                    os.fsync(file.fileno())
            except OSError:
                file.truncate(start * self._row_bytes)  # a checkpoint may need the room
                raise
        name, block = make_block(start, keys, data)
        storage.write_bytes(self.folder / name, block)

    def _open_blocks(self) -> None:
        """Check the blocks that are new, and take their rows in."""
        found = dict(self._listed())
        if not self._seen <= found.keys():  # set aside by another process, or deleted and made anew by a user
            self._seen = set()
            self._places[self._places >= 0] = -1
        for name in sorted(found.keys() - self._seen):
            self._seen.add(name)
            if (path := found[name]).name == "rows":
                continue
            try:
                start, keys = open_block(path, self.folder / "rows", self._row_bytes, self.size)
            except (storage.Damaged, OSError) as fault:
                self.warn(f"{fault}: set aside, its rows will be computed again")
                self._seen.remove(name)
                with contextlib.suppress(OSError):
                    path.rename(path.with_suffix(".block-damaged"))
                continue
            self._places[keys] = torch.arange(start, start + len(keys), dtype=torch.int32)
        self._table = torch.empty((0, self.num_classes), dtype=self.dtype)
        if (end := int(self._places.max()) + 1) > 0:
            rows = str(self.folder / "rows")
            flat = torch.from_file(rows, shared=False, size=end * self.num_classes, dtype=self.dtype)
            self._table = flat.view(end, self.num_classes)

    def _listed(self) -> Iterator[tuple[tuple[str, int, int], Path]]:
        """The file of rows and the blocks, each with what tells it from another one of its name."""
        for path in (self.folder / "rows", *self.folder.glob(BLOCKS)):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                yield (path.name, status.st_ino, 0 if path.name == "rows" else status.st_mtime_ns), path


def _describe(path: Path, described: object) -> None:
    """Write what a store is made of beside it, or make sure that it is this."""
    if not path.exists():
        with storage.lock(path.parent, wait=30.0):  # who holds the lock removes what others have half written
            storage.write_bytes(path, storage.json_bytes(described))
    with contextlib.suppress(ValueError):
        if digest(parse_json(path.read_bytes(), str(path))) == digest(described):
            return
    raise storage.Damaged(f"{path} says that this store was made of something else than its name: delete its folder")
