"""Blocks of a logit store: small files that record which rows have been written, under which keys, and a checksum."""

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
"""The pattern of the names of blocks: first row, number of rows."""


def make_block(start: int, keys: Tensor, data: bytes) -> tuple[str, bytes]:
    """Build the name and content of the block of the rows from ``start`` on, with these sorted keys and bytes."""
    # Differences of sorted keys, all low halves before all high halves: compressed, a byte or two per key.
    gaps = np.diff(keys.numpy(), prepend=0)
    packed = zlib.compress(np.stack([gaps & 0xFFFF, gaps >> 16]).astype("<u2").tobytes())
    name = f"{start:012d}-{len(keys)}.block"
    return name, seal(name, packed, data) + packed


def open_block(path: Path, rows: Path, row_bytes: int, size: int) -> tuple[int, Tensor]:
    """Read a block's first row and the keys of its rows (int64 ``[n]``, below ``size``), checked against the rows.

    Errors: ``storage.Damaged`` for a block that does not match its name or its SHA-256. A forged block may have a
    valid SHA-256, so every number in it is checked against what is there.
    """
    try:
        first_and_count = extent(path)
        if first_and_count is None or not 0 < first_and_count[1] <= size or sum(first_and_count) >= 2**31:
            raise ValueError("its name is not that of a block")
        start, count = first_and_count
        block = storage.read_regular(path, 32 + 5 * count + 1024)  # a key has four bytes before compression
        with storage.open_regular(rows) as file:
            if os.fstat(file.fileno()).st_size < (start + count) * row_bytes:
                raise ValueError("its rows are truncated")
            file.seek(start * row_bytes)
            data = file.read(count * row_bytes)
        if block[:32] != seal(path.name, block[32:], data):
            raise ValueError("it does not match its SHA-256")
        return start, _keys(block[32:], count, size)
    except (ValueError, FileNotFoundError, zlib.error) as error:
        raise storage.Damaged(f"block {path} of a teacher's logits is damaged ({error})") from None


def extent(path: Path) -> tuple[int, int] | None:
    """The first row and the number of rows of a block, from its name; None for any other name.

    >>> extent(Path("000000000042-7.block")), extent(Path("1-x.block"))
    ((42, 7), None)
    """
    match = re.fullmatch(r"([0-9]{12})-([0-9]{1,10})\.block.*", path.name)
    return (int(match[1]), int(match[2])) if match else None


def seal(name: str, packed: bytes, data: bytes) -> bytes:
    """The SHA-256 of a block: of its name, its packed keys and its rows."""
    digest = hashlib.sha256(f"{name}\n{len(packed)}\n".encode())
    digest.update(packed)
    digest.update(data)
    return digest.digest()


def _keys(packed: bytes, count: int, size: int) -> Tensor:
    unpacked = zlib.decompressobj().decompress(packed, 4 * count + 1)
    if len(unpacked) != 4 * count:
        raise ValueError(f"it does not contain the keys of {count} rows")
    low, high = np.frombuffer(unpacked, dtype="<u2").reshape(2, count).astype(np.int64)
    keys = torch.from_numpy((low + (high << 16)).cumsum())
    if keys.max() >= size:
        raise ValueError(f"it contains keys beyond the {size} rows of the store")
    return keys
