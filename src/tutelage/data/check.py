"""Check a dataset of the user's: all that is wrong with it at once, or what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tutelage.data.dataset import DataConfig, Splits
from tutelage.data.duplicates import SETS, Copies, array_copies, summary
from tutelage.data.faults import BrokenFiles
from tutelage.data.file_index import DEEP, GRAY, TRANSPARENT, TURNED
from tutelage.data.file_splits import preparation_of
from tutelage.data.folder import Photographs, left_out
from tutelage.data.load import read_for_check
from tutelage.data.preparation import OWN_SIZE
from tutelage.data.sources import where

PAIRS = 20
"""How many equal images are listed."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a check brought out: what is wrong, by file or class, and facts in lines; no fault is also a fact."""

    faults: tuple[str, ...]
    facts: tuple[str, ...]


def check_data(name: str, root: Path) -> Report:
    """Read a file of arrays, or decode all image files of a folder, whatever an index knows of them.

    Errors: ``ValueError`` for a path that is no dataset, and for arrays that cannot be used.
    """
    try:
        content = read_for_check(DataConfig(name=name, skip_broken=True), root)
    except BrokenFiles as error:
        return Report(error.faults, ())
    if isinstance(content, Splits):
        return Report((), tuple(_array_facts(content)))
    return Report(content.broken, tuple(_file_facts(content)))


def _array_facts(splits: Splits) -> Iterator[str]:
    info = splits.info
    sets = {"train": splits.train, "holdout": splits.holdout, "test": splits.test}
    present = {role: part for role, part in sets.items() if part is not None}
    yield from _counts({role: part.labels for role, part in present.items()}, info.class_names)
    yield f"each image is {info.channels}x{info.height}x{info.width}, which is what training uses"
    images = {role: part.images for role, part in present.items() if isinstance(part.images, Tensor)}
    groups = array_copies(images, {role: part.labels for role, part in present.items()})

    def text(role: str, row: int) -> str:
        return f"row {row} of the {SETS[role]} set"

    yield from _notes(info.notes, groups, "images")
    yield from _pairs(groups, text, info.class_names)


def _file_facts(photographs: Photographs) -> Iterator[str]:
    files, names = photographs.files, photographs.class_names
    labels = {role: photographs.labels[rows] for role, rows in photographs.rows.items()}
    yield from _counts(labels, names)
    shorter = files.sizes.min(1)
    sizes = files.sizes[np.argsort(shorter, kind="stable")].tolist()
    extremes = {"smallest": sizes[0], "median": sizes[len(sizes) // 2], "largest": sizes[-1]}
    listed = ", ".join(f"{name} {width}x{height}" for name, (width, height) in extremes.items())
    yield f"sizes by the shorter side: {listed}"
    for_any = preparation_of(photographs, DataConfig())
    small = preparation_of(photographs, DataConfig(network_size=OWN_SIZE))
    if for_any.size == small.size:
        yield f"training uses {for_any.size}x{for_any.size} pixels; --image-size changes that"
    else:
        yield (
            f"training uses {small.size}x{small.size} pixels with networks for small images, {for_any.size}x"
            f"{for_any.size} with networks for any size; --image-size changes that"
        )
    kinds = {GRAY: "gray", DEEP: "of 16 bits", TRANSPARENT: "transparent", TURNED: "turned upright as EXIF says"}
    counts = [(int(((files.kinds & flag) != 0).sum()), text) for flag, text in kinds.items()]
    yield (
        ", ".join(f"{count:,} {text}" for count, text in counts if count) or "none is gray, of 16 bits or transparent"
    )
    groups = photographs.copies()

    def text(role: str, row: int) -> str:
        return where(photographs.source, int(photographs.rows[role][row]))

    notes = [note for note in photographs.notes if note != left_out(len(photographs.broken))]
    yield from _notes(notes, groups, "files")
    yield from _pairs(groups, text, names)


def _counts(labels: Mapping[str, Tensor], names: Sequence[str]) -> Iterator[str]:
    """One line per set: how many images, and how many of each class; of very many classes the extremes."""
    for role, values in labels.items():
        counts = torch.bincount(values, minlength=len(names)).tolist()
        if len(names) <= 20:
            classes = ", ".join(f"{name} {count:,}" for name, count in zip(names, counts, strict=True))
        else:
            low, high = counts.index(min(counts)), counts.index(max(counts))
            classes = f"from {counts[low]:,} ({names[low]}) to {counts[high]:,} ({names[high]}) of a class"
        yield f"{SETS[role]} set: {len(values):,} images in {len(names)} classes: {classes}"


def _notes(notes: Sequence[str], groups: Sequence[Copies], noun: str) -> Iterator[str]:
    line = summary(groups, noun)
    yield from (note for note in notes if note != line)
    yield line or f"no two {noun} are equal"


def _pairs(groups: Sequence[Copies], text: Callable[[str, int], str], names: Sequence[str]) -> Iterator[str]:
    """Each image that is equal to an earlier one, with that one; those across sets and classes come first."""

    def rank(group: Copies) -> tuple[bool, bool]:
        return len({role for role, _, _ in group.places}) == 1, not group.disagree

    pairs = [(group.places[0], other) for group in sorted(groups, key=rank) for other in group.places[1:]]
    for (role, row, label), (other_role, other_row, other_label) in pairs[:PAIRS]:
        remark = "" if label == other_label else f", as {names[label]} and as {names[other_label]}"
        yield f"  {text(role, row)} = {text(other_role, other_row)}{remark}"
    if len(pairs) > PAIRS:
        yield f"  and {len(pairs) - PAIRS:,} more"
