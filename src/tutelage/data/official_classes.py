"""Which class an image belongs to where no folder says it: the tables beside the images of official sets."""

from __future__ import annotations

import csv
import io
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tutelage.storage import read_regular

VALIDATION_SIZE = 50_000
WNID = re.compile(r"n\d{8}")
"""The number of a synset of WordNet."""
_MAX_META, _MAX_META_EXPANDED = 8 * 2**20, 64 * 2**20
_COMPRESSED = 15


@dataclass(slots=True)
class ClassTable:
    """The class of each file by name, empty where its line is faulty; ``faults`` say what is wrong with the table."""

    path: Path
    classes: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, number: int, name: str, wnid: str) -> None:
        """Note what a line says."""
        if name in self.classes:
            self.faults.append(f"line {number}: {name!r} stands there twice")
        elif not WNID.fullmatch(wnid):
            self.faults.append(f"line {number}: {wnid[:40]!r} is no class, expected a number such as n01440764")
            wnid = ""
        self.classes.setdefault(name, wnid)


def read_annotations(path: Path) -> ClassTable:
    """Read ``val_annotations.txt`` of Tiny ImageNet: on each line a file, its class and a box, separated by tabs."""
    table = ClassTable(path)
    for number, line in _lines(table):
        name, separator, rest = line.partition("\t")
        if not separator:
            table.faults.append(f"line {number}: expected a file, its class and a box separated by tabs")
            table.classes.setdefault(name, "")
            continue
        table.add(number, name, rest.partition("\t")[0].strip())
    return table


def read_solution(path: Path) -> ClassTable:
    """Read Kaggle's ``LOC_val_solution.csv``: on each line an image, and its class before its boxes."""
    table = ClassTable(path)
    lines = dict(_lines(table))
    for number, row in zip(lines, csv.reader(lines.values(), quoting=csv.QUOTE_NONE), strict=True):
        if number == 1 and row[0] == "ImageId":
            continue
        if len(row) < 2:
            table.faults.append(f"line {number}: expected an image, a comma and its class")
            table.classes.setdefault(f"{row[0]}.JPEG", "")
            continue
        table.add(number, f"{row[0]}.JPEG", row[1].strip().partition(" ")[0])
    return table


def read_ground_truth(path: Path, meta: Path, num_images: int) -> ClassTable:
    """Read the ground truth of ILSVRC2012's development kit: line ``i`` has the number of the class of image ``i``.

    It has as many lines as the official validation set has images, or as there are. ``meta`` says which number is
    which class.
    """
    table = ClassTable(path)
    try:
        wnids = _read_meta(meta)
    except (ValueError, OSError) as error:
        table.faults.append(f"it needs {meta.name} beside it: {error}")
        wnids = {}
    count = 0
    for count, line in _lines(table):
        name, text = f"ILSVRC2012_val_{count:08d}.JPEG", line.strip()
        wnid = wnids.get(int(text), "") if text.isascii() and text.isdigit() and len(text) < 10 else ""
        if wnids and not wnid:
            table.faults.append(
                f"line {count}: {text[:40]!r} is no number of a class from {min(wnids)} to {max(wnids)}"
            )
        table.classes[name] = wnid
    if count not in (VALIDATION_SIZE, num_images):
        table.faults.append(
            f"it has {count:,} lines: expected {VALIDATION_SIZE:,}, or {num_images:,} as there are validation images"
        )
    return table


def _lines(table: ClassTable) -> Iterator[tuple[int, str]]:
    """The lines of a table that are not empty, with their numbers."""
    try:
        content = read_regular(table.path).decode("utf-8-sig")
    except UnicodeDecodeError:
        table.faults.append("it is not text in UTF-8")
        return
    except OSError as error:
        table.faults.append(f"it cannot be read: {error.strerror or error}")
        return
    except ValueError as error:
        table.faults.append(str(error))
        return
    for number, line in enumerate(content.split("\n"), 1):
        if line.strip():
            yield number, line.rstrip("\r")


def _read_meta(path: Path) -> dict[int, str]:
    """The classes of ILSVRC2012 by number: the synsets of ``meta.mat`` without children.

    Errors: ``ValueError``, ``OSError``.

    Source: torchvision, ``parse_devkit_archive``.
    """
    content = read_regular(path, _MAX_META)
    _check_expanded(content, path)
    from scipy.io import loadmat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            synsets = loadmat(io.BytesIO(content), squeeze_me=True, variable_names=["synsets"])["synsets"]
            columns = [np.atleast_1d(synsets[name]) for name in ("ILSVRC2012_ID", "WNID", "num_children")]
            wnids = {
                int(number): str(wnid) for number, wnid, children in zip(*columns, strict=True) if int(children) == 0
            }
    except Exception as error:  # a damaged or hostile file can raise almost any error
        raise ValueError(f"{path} has no table of synsets ({type(error).__name__}: {str(error)[:80]!r})") from None
    wrong = [wnid for wnid in wnids.values() if not WNID.fullmatch(wnid)]
    if wrong or not wnids:
        raise ValueError(
            f"{path} has no table of synsets such as n01440764{f', but {wrong[0][:40]!r}' if wrong else ''}"
        )
    return wnids


def _check_expanded(content: bytes, path: Path) -> None:
    """Check that a MATLAB file does not decompress to more than such a file may have.

    Errors: ``ValueError``.

    Source: MAT-File Format, version 5: 128 bytes of header, then elements with their type and size.
    """
    if not content.startswith(b"MATLAB 5.0 MAT-file") or content[126:128] not in (b"IM", b"MI"):
        raise ValueError(f"{path} is no MATLAB 5.0 MAT-file")
    tag = struct.Struct("<II" if content[126:128] == b"IM" else ">II")
    place, total = 128, 0
    while place + tag.size <= len(content):
        kind, size = tag.unpack_from(content, place)
        place += tag.size
        if kind == _COMPRESSED:
            try:
                total += len(
                    zlib.decompressobj().decompress(content[place : place + size], _MAX_META_EXPANDED - total + 1)
                )
            except zlib.error as error:
                raise ValueError(f"{path} is damaged: {error}") from None
            if total > _MAX_META_EXPANDED:
                raise ValueError(f"{path} decompresses to more than {_MAX_META_EXPANDED} bytes")
        place += size
