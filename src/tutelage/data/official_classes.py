"""Which class an image belongs to where no folder says it: the tables beside the images of official sets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tutelage.data.mat_structs import read_structs
from tutelage.storage import read_regular

VALIDATION_SIZE = 50_000
WNID = re.compile(r"n\d{8}")
"""The number of a synset of WordNet."""
_MAX_META = 8 * 2**20


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
    for number, line in _lines(table):
        row = line.split(",")
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
    try:
        rows = read_structs(read_regular(path, _MAX_META), "synsets", ("ILSVRC2012_ID", "WNID", "num_children"))
        wnids = {int(number): f"{wnid}" for number, wnid, children in rows if children == 0}
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path} has no table of synsets: {error}") from None
    wrong = [wnid for wnid in wnids.values() if not WNID.fullmatch(wnid)]
    if wrong or not wnids:
        wrong_name = f", but {wrong[0][:40]!r}" if wrong else ""
        raise ValueError(f"{path} has no table of synsets such as n01440764{wrong_name}")
    return wnids
