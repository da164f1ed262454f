"""The blocks of a teacher's store: which rows of its file are there, under which keys, and that they are whole."""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tutelage import storage

BLOCKS = "[0-9]*-[0-9]*.block"


def make_block(start: int, keys: Tensor, data: bytes) -> tuple[str, bytes]:
    """The name and content of the block of rows from ``start`` on, which have these sorted keys and these bytes."""
    # Gaps between sorted keys, their low halves before their high ones: a byte or two each once compressed.
    gaps = np.diff(keys.numpy(), prepend=0)
    packed = zlib.compress(np.stack([gaps & 0xFFFF, gaps >> 16]).astype("<u2").tobytes())
    name = f"{start:012d}-{len(keys)}.block"
    return name, seal(name, packed, data) + packed


def open_block(path: Path, rows: Path, row_bytes: int, size: int) -> tuple[int, Tensor]:
    """The first row of a block and the keys of its rows (int64 ``[n]``, below ``size``), checked against the rows.

    Errors: ``storage.Damaged`` for a block that is not what its name or its SHA-256 says. Whoever forges a block
    forges these too, so nothing that it says is believed beyond what is there.
    """
    try:
        found = extent(path)
        if found is None or not 0 < found[1] <= size or sum(found) >= 2**31:
            raise ValueError("its name is that of no block")
        start, count = found
        if path.stat().st_size > 32 + 5 * count + 1024:  # keys have four bytes each before they are compressed
            raise ValueError(f"it is too large for the keys of {count} rows")
        block = path.read_bytes()
        with rows.open("rb") as file:
            if os.fstat(file.fileno()).st_size < (start + count) * row_bytes:
                raise ValueError("its rows are cut short")
            file.seek(start * row_bytes)
            data = file.read(count * row_bytes)
        if block[:32] != seal(path.name, block[32:], data):
            raise ValueError("it is not what its SHA-256 says")
        return start, _keys(block[32:], count, size)
    except (ValueError, FileNotFoundError, zlib.error) as error:
        raise storage.Damaged(f"block {path} of a teacher's logits is damaged ({error})") from None


def extent(path: Path) -> tuple[int, int] | None:
    """The first row and the number of rows of a block, by its name; None for a name that none has.

    >>> extent(Path("000000000042-7.block")), extent(Path("1-x.block"))
    ((42, 7), None)
    """
    found = re.fullmatch(r"([0-9]{12})-([0-9]{1,10})\.block.*", path.name)
    return (int(found[1]), int(found[2])) if found else None


def seal(name: str, packed: bytes, data: bytes) -> bytes:
    """The SHA-256 of a block: of its name, its packed keys and its rows."""
    digest = hashlib.sha256(f"{name}\n{len(packed)}\n".encode())
    digest.update(packed)
    digest.update(data)
    return digest.digest()


def _keys(packed: bytes, count: int, size: int) -> Tensor:
    unpacked = zlib.decompressobj().decompress(packed, 4 * count + 1)
    if len(unpacked) != 4 * count:
        raise ValueError(f"it does not hold the keys of {count} rows")
    low, high = np.frombuffer(unpacked, dtype="<u2").reshape(2, count).astype(np.int64)
    keys = torch.from_numpy((low + (high << 16)).cumsum())
    if keys.max() >= size:
        raise ValueError(f"it holds rows beyond the {size} of the store")
    return keys
