"""Rows of logits on disk, each under an integer key; written once, by the process that computes them first."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from tutelage import storage
from tutelage.serialization import digest, to_json
from tutelage.teachers.blocks import BLOCKS, extent, make_block, open_block
from tutelage.teachers.rows import RowTable, replace_rows, write_rows
from tutelage.validation import parse_json

__all__ = ["LogitStore"]

FORMAT = 1
MAX_BLOCK_BYTES, MIN_BLOCK_ROWS = 1 << 24, 1 << 12
"""The size of a full block: so many bytes, or so many rows if that is more."""
FLUSH_SECONDS = 60.0
"""How long a computed row may exist only in memory: at most this much of the teacher's work is lost by a kill."""
RETRY_SECONDS = 10.0
"""How long to wait before trying again to write to a store that another process has locked."""

_MISSING = -1
FileIdentity = tuple[str, int, int]
"""Name, inode, and time of modification in nanoseconds (0 for the file of rows, which grows)."""


class LogitStore:
    """Rows of logits under the keys 0 to ``size - 1``; any number of processes may read and fill one store.

    ``made_of`` describes everything that determines the logits. Its digest is the name of the store's folder below
    ``root``, so another teacher, dataset or augmentation has another store. Rows are stored as ``dtype``; float16
    rounds, ``|stored - x| <= 2^-11 |x| + 2^-25``, while bfloat16 accepts only values that it represents exactly.

    All rows are in one file, appended in blocks and never moved or changed. A block exists once its own small file
    does: that file has its keys and a SHA-256 over them and its rows, and is written after the rows are on disk.
    Blocks are verified as they are opened; a damaged one is renamed, with a warning, and its rows count as missing.

    Errors: ``storage.Damaged`` for a folder whose description does not match its name; ``OSError``.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> with LogitStore(root, {"teacher": "a"}, size=9, num_classes=2) as store:
    ...     rounded = store.write(torch.tensor([7]), torch.tensor([[1.0, 0.1]]))
    >>> values, is_stored = LogitStore(root, {"teacher": "a"}, size=9, num_classes=2).read(torch.tensor([7, 8]))
    >>> is_stored.tolist(), [round(value, 5) for value in values[0].tolist()]
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
            raise ValueError(f"a store has the type float16, bfloat16 or float32, not {dtype}")
        assert 0 < size < 2**31
        self.size, self.num_classes, self.dtype, self.warn = size, num_classes, dtype, warn
        shape = {"format": FORMAT, "size": size, "num_classes": num_classes, "dtype": str(dtype)}
        description = to_json(shape | {"made_of": dict(made_of)})
        self.folder = root / digest(description)[:24]
        _write_description(self.folder / "store.json", description)
        self._row_bytes = num_classes * dtype.itemsize
        self._opened_files: set[FileIdentity] = set()
        # For each key: the row in the file, _MISSING, or -2 - i for row i of the pending rows, not yet written.
        self._positions = torch.full((size,), _MISSING, dtype=torch.int32)
        capacity = min(size, max(MAX_BLOCK_BYTES // self._row_bytes, MIN_BLOCK_ROWS))
        self._pending = torch.empty((capacity, num_classes), dtype=dtype)
        self._pending_keys = torch.empty(capacity, dtype=torch.int64)
        self._pending_count, self._writable = 0, True
        self._table: RowTable | None = None
        self._last_flush, self._retry_at = time.monotonic(), 0.0
        self._open_blocks()

    def __enter__(self) -> LogitStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        elif not issubclass(kind, OSError):  # stopped or failed; after an error of the disk nothing more is written
            self.close(wait=2.0)

    @property
    def keys(self) -> Tensor:
        """The keys of the rows in the store, int64 ``[n]``, ascending."""
        return (self._positions != _MISSING).nonzero()[:, 0]

    def read(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Read the rows of some keys (int64 ``[B]``): float32 ``[B, K]``, and whether each exists, bool ``[B]``."""
        if self._table is not None and not self._table.is_whole():
            self._reopen()
        positions = self._positions[keys]
        is_stored = positions != _MISSING
        on_disk = positions >= 0
        if self._table is not None and on_disk.all():
            return self._table.read(positions).float(), is_stored
        values = torch.zeros((len(keys), self.num_classes), dtype=self.dtype)
        if self._table is not None:
            values[on_disk] = self._table.read(positions[on_disk])
        pending = is_stored & ~on_disk
        values[pending] = self._pending.index_select(0, -2 - positions[pending])
        return values.float(), is_stored

    def write(self, keys: Tensor, logits: Tensor) -> Tensor:
        """Store the rows that are not stored yet, float32 ``[B, K]``; returns all rows as they will be read.

        A row that ``dtype`` cannot represent is not stored, and is returned unchanged.

        Errors: ``ValueError`` if bfloat16 would round.
        """
        rows = logits.to(self.dtype)
        rounded = rows.float()
        fits = rounded.isfinite().all(1)
        if self.dtype is torch.bfloat16 and not torch.equal(rounded[fits], logits[fits]):
            raise ValueError("this teacher's logits are more precise than bfloat16: store them as float32 or float16")
        if self._writable:
            now = time.monotonic()
            is_full = self._pending_count + len(keys) > len(self._pending)
            if (is_full or now - self._last_flush > FLUSH_SECONDS) and now >= self._retry_at:
                self.flush()
            is_new = fits & (self._positions[keys] == _MISSING)
            added = slice(self._pending_count, self._pending_count + int(is_new.sum()))
            # No room is left if another process holds the lock for long: the rows will be computed again.
            if added.stop <= len(self._pending):
                self._pending[added], self._pending_keys[added] = rows[is_new], keys[is_new]
                self._positions[keys[is_new]] = -2 - torch.arange(added.start, added.stop, dtype=torch.int32)
                self._pending_count = added.stop
        return torch.where(fits[:, None], rounded, logits)

    def flush(self, wait: float = 1.0) -> None:
        """Write the pending rows, and read what other processes have written.

        If another process holds the lock for more than ``wait`` seconds, the rows stay pending until the next flush.
        A full or failing disk ends the writing with a warning, and the training run goes on.
        """
        try:
            with storage.lock(self.folder, wait):
                self._open_blocks()
                keys = self._pending_keys[: self._pending_count]
                unwritten = (self._positions[keys] < _MISSING).nonzero()[:, 0]  # others may have written the rest
                if len(unwritten):
                    order = unwritten[keys[unwritten].argsort()]
                    self._append(keys[order], self._pending[order])
                    self._open_blocks()
        except storage.InUse:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return
        except OSError as error:
            self.warn(f"the teacher's logits are no longer stored: {error}")
            self._writable = False
            return
        self._positions[keys[self._positions[keys] < _MISSING]] = _MISSING
        self._pending_count, self._last_flush = 0, time.monotonic()

    def close(self, wait: float = 30.0) -> None:
        """Write the pending rows, waiting up to ``wait`` seconds for another process that writes."""
        if self._pending_count and self._writable:
            self.flush(wait)
            if self._pending_count and self._writable:
                self.warn(
                    f"{self._pending_count} rows of the teacher's logits are not stored: {self.folder} is in use"
                )

    def _append(self, keys: Tensor, rows: Tensor) -> None:
        """Write the rows, then the file that makes them a block; the caller holds the lock."""
        path = self.folder / "rows"
        if not path.exists():
            storage.write_bytes(path, b"")  # its name is on disk before any block refers to it
        # Append after the last block, not at the end of the file, where an interrupted write may have left rows.
        # Damaged blocks count too: another process may have opened them while they were intact.
        rows_in_file = path.stat().st_size // self._row_bytes
        ends = {path: sum(extent(path) or (0, 0)) for path in self.folder.glob(f"{BLOCKS}*")}
        start = max((end for end in ends.values() if end <= rows_in_file), default=0)
        lost = [path for path, end in ends.items() if end > rows_in_file]
        if lost:
            # The file was cut off. Processes that opened its lost rows must not read others in their places.
            replace_rows(path, start * self._row_bytes)
            for each in lost:
                each.unlink(missing_ok=True)
        data = rows.view(torch.uint8).numpy().tobytes()
        write_rows(path, start * self._row_bytes, data)
        name, block = make_block(start, keys, data)
        storage.write_bytes(self.folder / name, block)

    def _reopen(self) -> None:
        """Verify all blocks again, as rows are gone that were in the file."""
        self._opened_files = set()
        self._positions[self._positions >= 0] = _MISSING
        self._open_blocks()

    def _open_blocks(self) -> None:
        """Verify the blocks that are new, and map all rows on disk into memory."""
        files = dict(self._files())
        if not self._opened_files <= files.keys():  # renamed by another process, or deleted and rebuilt by the user
            self._opened_files = set()
            self._positions[self._positions >= 0] = _MISSING
        for identity in sorted(files.keys() - self._opened_files):
            self._opened_files.add(identity)
            if (path := files[identity]).name == "rows":
                continue
            try:
                start, keys = open_block(path, self.folder / "rows", self._row_bytes, self.size)
            except (storage.Damaged, OSError) as error:
                self.warn(f"{error}: ignored, its rows will be computed again")
                self._opened_files.remove(identity)
                with contextlib.suppress(OSError):
                    path.rename(path.with_suffix(".block-damaged"))
                continue
            self._positions[keys] = torch.arange(start, start + len(keys), dtype=torch.int32)
        self._table = None
        if (end := int(self._positions.max()) + 1) > 0:
            try:
                self._table = RowTable(self.folder / "rows", end, self.num_classes, self.dtype)
            except (ValueError, OSError):  # cut off or deleted since the blocks were verified
                self._positions[self._positions >= 0] = _MISSING

    def _files(self) -> Iterator[tuple[FileIdentity, Path]]:
        """The file of rows and the blocks, each with what distinguishes it from another file of its name."""
        for path in (self.folder / "rows", *self.folder.glob(BLOCKS)):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                yield (path.name, status.st_ino, 0 if path.name == "rows" else status.st_mtime_ns), path


def _write_description(path: Path, description: object) -> None:
    """Write a new store's description, or check that the existing one is the same."""
    if not path.exists():
        with storage.lock(path.parent, wait=30.0):  # the holder of the lock removes temporary files, also another's
            storage.write_bytes(path, storage.json_bytes(description))
    with contextlib.suppress(ValueError):
        if digest(parse_json(storage.read_regular(path), str(path))) == digest(description):
            return
    raise storage.Damaged(f"{path} describes another store than the name of its folder: delete that folder")
