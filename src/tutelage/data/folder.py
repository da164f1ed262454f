"""A folder of images with one sub-folder per class: listed, examined, and prepared at one size."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from tutelage.data.duplicates import Copies, copies, summary
from tutelage.data.faults import BrokenFiles
from tutelage.data.file_index import Files, examine
from tutelage.data.labels import encodable
from tutelage.data.listing import Listing, Tree, listed
from tutelage.data.sources import FolderSource, Source
from tutelage.data.splits import TEST, stratified_split
from tutelage.progress import Progress

TEST_SHARE = 5  # one image in five, for a folder without a test set
_DEPTH = 4  # <wrapper>/train/<class>/<file>: what lies deeper belongs to no dataset


@dataclass(frozen=True, slots=True, eq=False)
class Photographs:
    """The image files of a set, examined and not decoded: rows of ``source`` with a label, by set."""

    source: Source
    files: Files
    class_names: tuple[str, ...]
    rows: Mapping[str, Tensor]
    labels: Tensor
    divided: bool
    """Whether the test set is a part of what was one set."""
    notes: tuple[str, ...]
    broken: tuple[str, ...]
    """What is wrong with each file that was left out."""
    mark: str = ""
    """How this differs from the official set in whose layout it is."""

    def copies(self) -> list[Copies]:
        """The files that have the same bytes as others."""
        return copies(
            {role: self.files.digests[rows.numpy()] for role, rows in self.rows.items()},
            {role: self.labels[rows] for role, rows in self.rows.items()},
        )


def examine_folder(
    root: Path,
    index: Path | None,
    progress: Progress = lambda *_: None,
    skip_broken: bool = False,
    again: bool = False,
) -> Photographs:
    """List the images of a folder and examine them; ``index`` is the folder where what is found is kept.

    Without a test set, one image in five becomes it: always the same ones, with the class shares of the whole. With
    ``skip_broken`` all files are decoded once, and those that cannot be are left out. ``again`` reads also what the
    index knows.

    Errors: :class:`BrokenFiles`, which lists all that is wrong; ``ValueError`` where there are no classes.
    """
    return examined(
        listed(folder_tree(root, _DEPTH), str(root)), root, FolderSource, index, progress, skip_broken, again=again
    )


def examined(
    listing: Listing,
    root: Path,
    source_type: Callable[[Path, Sequence[str]], Source],
    index: Path | None,
    progress: Progress,
    skip_broken: bool = False,
    again: bool = False,
) -> Photographs:
    """Examine the files of a listing.

    Errors: those of :func:`examine_folder`.
    """
    entries = [(role, *entry) for role, entries in listing.sets.items() for entry in entries]
    source = source_type(root, [name for _, name, _ in entries])
    files = examine(source, index, again, decoding=skip_broken, progress=progress)
    broken = [_located(root, each) for each in listing.foreign] + [files.faults[row] for row in sorted(files.faults)]
    faults = [_located(root, fault) for fault in listing.faults]
    if skip_broken and broken:
        usable = [row for row in range(len(entries)) if row not in files.faults]
        faults += _emptied(root, entries, usable)
        entries = [entries[row] for row in usable]
        source, files = source_type(root, [name for _, name, _ in entries]), files.subset(usable)
    if faults or (broken and not skip_broken):
        raise BrokenFiles(faults + broken, root, may_skip=not faults)
    if len(listing.classes) < 2:
        raise ValueError(f"{str(root)!r} has only the class {listing.classes[0]!r}: expected 2 or more")
    labels = torch.tensor([label for _, _, label in entries])
    roles = [role for role, _, _ in entries]
    rows = {role: torch.tensor([row for row, each in enumerate(roles) if each == role]) for role in listing.sets}
    notes = list(listing.notes)
    if listing.passed_over:
        notes.append(f"{listing.passed_over} files that systems and tools left behind are passed over")
    if broken:
        notes.append(left_out(len(broken)))
    divided = "test" not in rows
    if divided:
        rows["train"], rows["test"] = _split(root, labels, len(listing.classes))
        notes.append(f"{len(rows['test'])} of {len(labels)} images are the test set, as there is no other")
    elif not len(rows["test"]):
        raise ValueError(f"{str(root)!r} has a test folder without class folders of images")
    names = tuple(map(encodable, listing.classes))
    photographs = Photographs(source, files, names, rows, labels, divided, tuple(notes), tuple(broken))
    duplicates = summary(photographs.copies())
    return replace(photographs, notes=(*notes, duplicates)) if duplicates else photographs


def left_out(count: int) -> str:
    """The note on files that are left out.

    >>> left_out(1_200)
    '1,200 files that cannot be read or decoded are left out (--skip-broken)'
    """
    files, verb = ("file", "is") if count == 1 else ("files", "are")
    return f"{count:,} {files} that cannot be read or decoded {verb} left out (--skip-broken)"


def _emptied(root: Path, entries: Sequence[tuple[str, str, int]], usable: Sequence[int]) -> list[str]:
    """The faults of training classes of which no file is usable."""
    remaining = {entries[row][2] for row in usable if entries[row][0] == "train"}
    folders = {label: name.rpartition("/")[0] for role, name, label in entries if role == "train"}
    return [
        f"{str(root / folder)!r} is a class without images that can be used"
        for label, folder in folders.items()
        if label not in remaining
    ]


def _located(root: Path, fault: str) -> str:
    """A fault of a listing, with the whole path: it begins with a name in quotes."""
    quote = fault[0]
    return f"{quote}{root}/{fault[1:]}"


def _split(root: Path, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    train_size = len(labels) - max(1, round(len(labels) / TEST_SHARE))
    if train_size < num_classes:
        raise ValueError(
            f"{str(root)!r} has {len(labels)} images, too few to take a test set from for {num_classes} classes"
        )
    return stratified_split(labels, num_classes, train_size, TEST)


def folder_tree(folder: Path, depth: int) -> Tree:
    """The entries of a folder and, down to ``depth``, of the folders in it."""
    with os.scandir(folder) as entries:
        return {
            entry.name: (folder_tree(Path(entry.path), depth - 1) if depth > 1 else {})
            if entry.is_dir()
            else entry.is_file()
            for entry in entries
        }
