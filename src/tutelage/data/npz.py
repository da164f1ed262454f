"""Datasets from arrays, or from an ``.npz`` file of arrays."""

from __future__ import annotations

import math
import os
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tutelage.data.dataset import Dataset, DatasetInfo, Splits
from tutelage.data.duplicates import array_copies, summary
from tutelage.data.labels import as_array, checked_labels, encodable
from tutelage.data.splits import make_splits
from tutelage.storage import open_regular

ARRAYS = {split: (f"{split}_images", f"{split}_labels") for split in ("train", "test", "val")}
"""The names of the arrays of each split."""
MAX_BYTES = 4 * 2**30  # of all arrays of a file together, decompressed
MAX_RATIO = 1032  # the highest compression ratio that deflate can reach


def read_npz(path: Path) -> Splits:
    """Read an ``.npz`` with the arrays of :func:`from_arrays`, by their names; other arrays in it are ignored.

    These are the names that the files of MedMNIST have.

    Errors: ``ValueError``, naming the file: not an ``.npz``, damaged, a missing array, Python objects in it, more
    than 4 GiB (by its declared sizes, before anything is read), and those of :func:`from_arrays`.
    """
    try:
        with open_regular(path) as content, zipfile.ZipFile(content) as file:
            members = {info.filename.removesuffix(".npy"): info for info in file.infolist()}
            names = [name for split in _splits_in(members) for name in ARRAYS[split]]
            names += ["class_names"] if "class_names" in members else []
            declared = sum(members[name].file_size for name in names)
            if declared > MAX_BYTES:
                raise ValueError(f"its arrays have {declared} bytes; at most {MAX_BYTES} are kept in memory")
            file_size = os.fstat(content.fileno()).st_size
            if declared > MAX_RATIO * file_size:
                raise ValueError(f"its arrays declare {declared} bytes, more than a file of {file_size} can contain")
            arrays = {name: _read_array(file, members[name]) for name in names}
        return from_arrays(**arrays)
    except (ValueError, zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
        raise ValueError(f"{str(path)!r} cannot be used: {error}") from None


def _splits_in(present: Collection[str]) -> tuple[str, ...]:
    """The splits that the arrays of these names make up: ``train``, and ``test`` or ``val`` or both.

    Errors: ``ValueError`` that names the arrays that are missing.
    """

    def has_any(split: str) -> bool:
        return any(name in present for name in ARRAYS[split])

    evaluated = [split for split in ("test", "val") if has_any(split)] or ["test"]
    splits = ("train", *evaluated)
    if missing := [name for split in splits for name in ARRAYS[split] if name not in present]:
        raise ValueError(f"it lacks {', '.join(missing)}; it contains {', '.join(sorted(present)[:8]) or 'nothing'}")
    return splits


def _read_array(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Read one array, after checking its header against the size that the zip declares."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{info.filename} is compressed by a method that NumPy does not use")
    with file.open(info) as member:
        version = np.lib.format.read_magic(member)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read_header:
            raise ValueError(f"{info.filename} has the array format {version}")
        try:
            shape, _, dtype = read_header[version](member)
        except (SyntaxError, tokenize.TokenError) as error:  # raised when NumPy retries the header as Python 2's
            raise ValueError(f"{info.filename} has an invalid header ({error})") from None
        if dtype.hasobject:
            raise ValueError(
                f"{info.filename} contains Python objects, which are refused: they would have to be unpickled"
            )
        expected = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or expected != info.file_size - member.tell():
            raise ValueError(f"{info.filename} declares the shape {list(shape)}, which does not match its size")
    with file.open(info) as member:
        values = np.lib.format.read_array(member, allow_pickle=False)
        member.read(1)  # reaches the end of the file, where zipfile verifies the checksum
    return np.asarray(values)


def from_arrays(
    train_images: object,
    train_labels: object,
    test_images: object = None,
    test_labels: object = None,
    class_names: Sequence[str] | np.ndarray | None = None,
    val_images: object = None,
    val_labels: object = None,
) -> Splits:
    """Make a dataset from arrays or tensors, without copying them where possible: do not modify them afterwards.

    ``val_images`` and ``val_labels`` are the validation set (``holdout``), or the test set where there is no other,
    which the notes of the dataset's description then say.

    Shapes: images uint8 ``[N, H, W]``, ``[N, H, W, C]`` or ``[N, C, H, W]``; the channels are the last or the second
    dimension, whichever is 1 or 3. Labels integers ``[N]`` or ``[N, 1]``, numbered from 0; ``class_names`` ``[K]``.

    Errors: ``ValueError`` for a missing array, another dtype or shape, for channels that could be either dimension,
    for images of two sets that differ in shape, for numbers of images and labels that differ, for labels outside
    ``0..K-1`` (their number and the first of them), for two classes of one name and, without class names, for a class
    without training images.

    >>> pixels = np.zeros((4, 28, 28), np.uint8)
    >>> from_arrays(pixels, [0, 1, 0, 1], pixels[:2], [0, 1], class_names=["cat", "dog"]).info.class_names
    ('cat', 'dog')
    """
    values = {
        "train_images": train_images,
        "train_labels": train_labels,
        "test_images": test_images,
        "test_labels": test_labels,
        "val_images": val_images,
        "val_labels": val_labels,
    }
    splits = _splits_in([name for name, value in values.items() if value is not None])
    images = {split: _images(values[f"{split}_images"], f"{split}_images") for split in splits}
    train = images["train"]
    for split, other in images.items():
        if other.shape[1:] != train.shape[1:]:
            raise ValueError(
                f"train_images and {split}_images differ: "
                f"[C, H, W] is {list(train.shape[1:])} and {list(other.shape[1:])}"
            )
    names = _names(class_names) if class_names is not None else _numbers_as_names(train_labels)
    sets = {split: _dataset(images[split], values[f"{split}_labels"], split, len(names)) for split in splits}
    test, holdout = (sets["test"], sets.get("val")) if "test" in sets else (sets["val"], None)
    channels, height, width = train.shape[1:]
    notes = () if "test" in sets else ("there is no test_images: val_images is used as the test set",)
    duplicates = _duplicates({"train": sets["train"], "test": test} | ({"holdout": holdout} if holdout else {}))
    info = DatasetInfo(
        class_names=names,
        channels=channels,
        height=height,
        width=width,
        train_size=len(train),
        test_size=len(test),
        holdout_size=0 if holdout is None else len(holdout),
        padding=default_padding(height, width),
        flip=channels == 3,
        notes=(*notes, duplicates) if duplicates else notes,
    )
    return make_splits(info, sets["train"], test, holdout)


def _dataset(images: Tensor, labels: object, split: str, num_classes: int) -> Dataset:
    checked = checked_labels(labels, f"{split}_labels", num_classes)
    if len(checked) != len(images):
        raise ValueError(f"{len(images)} {split}_images, but {len(checked)} {split}_labels")
    return Dataset(images=images, labels=checked, ids=torch.arange(len(checked)))


def _duplicates(sets: Mapping[str, Dataset]) -> str:
    images = {role: part.images for role, part in sets.items() if isinstance(part.images, Tensor)}
    return summary(array_copies(images, {role: part.labels for role, part in sets.items()}), "images")


def default_padding(height: int, width: int) -> int:
    """How many pixels to shift training images of an unknown dataset: 4, or 1 for images below 24 pixels.

    >>> default_padding(32, 32), default_padding(8, 8)
    (4, 1)
    """
    return 4 if min(height, width) >= 24 else 1


def _images(images: object, where: str) -> Tensor:
    pixels = as_array(images)
    if pixels.dtype != np.uint8:
        raise ValueError(f"{where}: expected uint8 pixels from 0 to 255, not {pixels.dtype}")
    if pixels.ndim not in (3, 4) or 0 in pixels.shape:
        raise ValueError(
            f"{where}: expected the shape [N, H, W], [N, H, W, C] or [N, C, H, W], with no dimension 0, "
            f"not {list(pixels.shape)}"
        )
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    else:
        first, last = pixels.shape[1] in (1, 3), pixels.shape[3] in (1, 3)
        if first == last:
            problem = "both could be" if first else "neither is"
            raise ValueError(
                f"{where}: the channels must be 1 or 3, as the second or the last dimension; "
                f"of {list(pixels.shape)} {problem}"
            )
        pixels = pixels if first else pixels.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.require(pixels, requirements=["C", "W"]))


def _names(class_names: Sequence[str] | np.ndarray) -> tuple[str, ...]:
    values = np.asarray(class_names)
    if values.ndim != 1 or values.dtype.kind not in "US" or len(values) < 2:
        raise ValueError(
            f"class_names: expected a list of 2 or more texts, not {values.dtype} of shape {list(values.shape)}"
        )
    if values.dtype.kind == "U" and values.dtype.itemsize:  # a file may contain any 32 bits as a character
        codes = np.ascontiguousarray(values).view(np.dtype(np.uint32).newbyteorder(values.dtype.byteorder))
        if codes.max() > sys.maxunicode:
            raise ValueError("class_names: they contain an invalid character")
    decoded = (
        name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name for name in values.tolist()
    )
    names = tuple(encodable(name) for name in decoded)
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if places.setdefault(name, place) != place:
            raise ValueError(
                f"class_names: classes {places[name]} and {place} are both named {name!r}; give each its own name"
            )
    return names


def _numbers_as_names(train_labels: object) -> tuple[str, ...]:
    present = sorted(set(checked_labels(train_labels, "train_labels").tolist()))
    missing = next((expected for expected, label in enumerate(present) if expected != label), None)
    if missing is not None:
        raise ValueError(
            f"train_labels: they go up to {present[-1]} but none is {missing}; pass class_names if that is intended"
        )
    if len(present) < 2:
        raise ValueError(f"train_labels: expected 2 or more classes, not {len(present)}")
    return tuple(str(label) for label in present)
