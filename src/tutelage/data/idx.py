"""MNIST and the sets in its format: four IDX files, plain or gzipped, in one folder."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from tutelage.data.archive import decompress
from tutelage.data.dataset import Splits
from tutelage.data.npz import MAX_BYTES, MAX_RATIO, from_arrays
from tutelage.storage import open_regular

FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
"""The name of each file on the sites that give these sets out."""
SETS = ("MNIST", "FashionMNIST", "KMNIST", "EMNIST")
"""Below its root, torchvision stores each set in ``<set>/raw``."""
_UNSIGNED_BYTES = 8
_DIMENSIONS = {"images": 3, "labels": 1}
_BLOCK = 2**20


def is_idx(folder: Path) -> bool:
    """Whether a folder holds IDX files, or is a root below which torchvision stores some."""
    return bool(_places(folder))


def read_idx(folder: Path) -> Splits:
    """Read the IDX files of MNIST, Fashion-MNIST or KMNIST; the classes are named by their numbers.

    The files are called ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
    ``t10k-labels-idx1-ubyte``, or with a dot before ``idx``; each may end in ``.gz``. They are in the folder itself,
    in its ``raw``, or in ``MNIST/raw`` and the like, as torchvision stores them.

    Format: two zero bytes, the type of the values (8: unsigned bytes), the number of dimensions, each dimension as a
    big-endian uint32, then the values.

    Errors: ``ValueError``, naming the file: missing, damaged, another format, sizes that do not match its header, or
    more than 4 GiB (by the headers, before any value is read); naming the folder: several sets, EMNIST, and those of
    :func:`tutelage.data.npz.from_arrays`.

    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", 1998.
    """
    places = _places(folder)
    if len(places) > 1:
        choices = " or ".join(repr(str(place)) for place in places)
        raise ValueError(f"{str(folder)!r} cannot be used: it contains several sets; choose {choices}")
    where = places[0] if places else folder
    paths = {array: _path_of(where, name) for array, name in FILES.items()}
    if not any(paths.values()) and (emnist := _emnist_file(where)):
        raise ValueError(
            f"{str(emnist)!r} cannot be used: EMNIST is not supported (its images lie on their side, and some of "
            "its labels begin at 1); upright images with labels from 0 can be stored as an .npz"
        )
    shapes = _shapes(where, paths)
    total = sum(map(math.prod, shapes.values()))
    if total > MAX_BYTES:
        raise ValueError(
            f"{str(where)!r} cannot be used: its arrays have {total} bytes; at most {MAX_BYTES} are kept in memory"
        )
    arrays = {array: _values(path, shapes[array]) for array, path in paths.items() if path is not None}
    try:
        return from_arrays(**arrays)
    except ValueError as error:
        raise ValueError(f"{str(where)!r} cannot be used: {error}") from None


def _places(folder: Path) -> list[Path]:
    """The folders in which there are IDX files: this one, else those below it in which torchvision stores them."""
    for places in ([folder], [folder / "raw"], [folder / name / "raw" for name in SETS]):
        if present := [place for place in places if _has_idx(place)]:
            return present
    return []


def _has_idx(folder: Path) -> bool:
    return any(_path_of(folder, name) for name in FILES.values()) or _emnist_file(folder) is not None


def _path_of(folder: Path, name: str) -> Path | None:
    """The file of this name in one of its spellings; an unpacked one is preferred."""
    dotted = name.replace("-idx", ".idx")
    for spelling in (name, dotted, f"{name}.gz", f"{dotted}.gz"):
        path = folder / spelling
        if os.path.lexists(path) and not path.is_dir():
            return path
    return None


def _emnist_file(folder: Path) -> Path | None:
    return min(folder.glob("emnist-*-images-idx3-ubyte*"), default=None)


def _shapes(folder: Path, paths: dict[str, Path | None]) -> dict[str, tuple[int, ...]]:
    """The shape that each file declares, after comparing it with the file's size.

    Errors: one ``ValueError`` for all files that are missing or do not fit.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    problems = []
    if missing := [FILES[array] for array, path in paths.items() if path is None]:
        problems.append(f"{str(folder)!r} cannot be used: it lacks {', '.join(missing)} (each may end in .gz)")
    for array, path in paths.items():
        if path is None:
            continue
        try:
            shapes[array] = _shape(path, _DIMENSIONS[array.partition("_")[2]])
        except (ValueError, OSError, zlib.error) as error:
            problems.append(f"{str(path)!r} cannot be used: {error}")
    if problems:
        raise ValueError("; ".join(problems))
    return shapes


def _shape(path: Path, dimensions: int) -> tuple[int, ...]:
    length = _header_length(dimensions)
    header = b""
    with open_regular(path) as file:
        for block in _blocks(path, file):
            header = (header + block)[:length]
            if len(header) == length:
                break
        size = os.fstat(file.fileno()).st_size
    expected = bytes((0, 0, _UNSIGNED_BYTES, dimensions))
    if header[:4] != expected:
        raise ValueError(
            f"it begins with {header[:4].hex() or 'nothing'}, not with {expected.hex()}, as unsigned bytes in "
            f"{dimensions} dimension{'s' if dimensions > 1 else ''} do"
        )
    if len(header) < length:
        raise ValueError("it ends within its header")
    shape = tuple(int.from_bytes(header[place : place + 4], "big") for place in range(4, length, 4))
    declared = length + math.prod(shape)
    if path.suffix == ".gz" and declared > MAX_RATIO * size:
        raise ValueError(f"it declares the shape {list(shape)}, more than a file of {size} bytes can contain")
    if path.suffix != ".gz" and declared != size:
        raise ValueError(f"it declares the shape {list(shape)}, a file of {declared} bytes, but has {size}")
    return shape


def _values(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The values of a file whose header declares this shape."""
    skip = _header_length(len(shape))
    content = np.empty(skip + math.prod(shape), np.uint8)
    length = 0
    try:
        with open_regular(path) as file:
            for block in _blocks(path, file):
                end = length + len(block)
                if end > len(content):
                    raise ValueError("it has more bytes than its header declares")
                content[length:end] = np.frombuffer(block, np.uint8)
                length = end
        if length < len(content):
            raise ValueError(f"its header declares {len(content)} bytes, but it has {length}")
    except (ValueError, OSError, zlib.error) as error:
        raise ValueError(f"{str(path)!r} cannot be used: {error}") from None
    return content[skip:].reshape(shape)


def _header_length(dimensions: int) -> int:
    return 4 + 4 * dimensions


def _blocks(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    """The content of a file in blocks, decompressed where its name ends in ``.gz``."""
    return decompress(file, MAX_BYTES) if path.suffix == ".gz" else iter(partial(file.read, _BLOCK), b"")
