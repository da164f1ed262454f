"""What a folder of images contains: which file belongs to which class of which set."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

SETS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "holdout": ("val", "valid", "validation"),
    "test": ("test", "testing", "eval"),
}
"""The names of folders that hold a set, in any case."""
_DEBRIS = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin", "picasa.ini"}
_TEMPORARY = (".part", ".tmp", ".crdownload", "~")


def is_debris(name: str) -> bool:
    """Whether a name is one that operating systems, archivers and tools leave behind.

    >>> [is_debris(name) for name in (".DS_Store", "Thumbs.db", "__MACOSX", "1.jpg.part", "cat.jpg")]
    [True, True, True, True, False]
    """
    return name.startswith(".") or name.lower() in _DEBRIS or name.lower().endswith(_TEMPORARY)


@dataclass(slots=True)
class Listing:
    """Files by set, with the place of their class; names have ``/`` between their parts.

    ``notes`` say in one line each what was decided; ``faults`` what is wrong with the whole; ``foreign`` what lies
    between the images and is no file; ``passed_over`` counts debris.
    """

    classes: tuple[str, ...]
    sets: dict[str, list[tuple[str, int]]]
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    passed_over: int = 0


Tree = Mapping[str, "Tree | bool"]
"""A folder as its entries by name: a folder again, or whether it is a file."""


def listed(tree: Tree, root: str) -> Listing:
    """List ``train``, ``val`` and ``test`` folders of class folders, or class folders alone, by their names.

    A folder that holds nothing but one folder is that folder. ``val`` is the holdout beside a test set, and the test
    set where there is none. Classes are numbered in the order of the training folders' names, files are in the order
    of theirs. Names of classes are compared, and numbered, in Unicode's normal form C: a Mac writes others.

    Errors: ``ValueError`` where there are no classes at all; other faults are in the listing.
    """
    prefix, tree, passed_over = _unwrapped(tree)
    folders = {role: _folders(tree, names) for role, names in SETS.items()}
    for role, names in folders.items():
        if len(names) > 1:
            raise ValueError(f"{root!r} has the folders {' and '.join(names)} for one set, {role}: keep one of them")
    train = folders["train"]
    if train and _classes(_folder(tree, train[0])):
        parts = {role: f"{prefix}{names[0]}" for role, names in folders.items() if names}
        roots = {role: _folder(tree, names[0]) for role, names in folders.items() if names}
    else:
        parts, roots = {"train": prefix.rstrip("/")}, {"train": tree}
    listing = Listing(classes=(), sets={}, passed_over=passed_over)
    if "holdout" in roots and "test" not in roots:
        listing.notes.append(f"{parts['holdout']} is the test set, as there is no other")
        roots["test"], parts["test"] = roots.pop("holdout"), parts.pop("holdout")
    if "holdout" in roots:
        listing.notes.append(f"{parts['holdout']} is the validation set")
    places: dict[str, int] = {}
    for role in ("train", "holdout", "test"):
        if role in roots:
            listing.sets[role] = list(class_files(roots[role], parts[role], role, places, listing))
    listing.classes = tuple(places)
    if not places:
        raise ValueError(
            f"{root!r} has no class folders: expected <class>/*.png in it, or train/<class>/*.png and "
            "test/<class>/*.png"
        )
    return listing


def _unwrapped(tree: Tree) -> tuple[str, Tree, int]:
    """Step into folders that hold nothing but one folder, which is none of a class."""
    prefix, passed_over = "", 0
    while True:
        clean = {name: entry for name, entry in tree.items() if not is_debris(name)}
        passed_over += len(tree) - len(clean)
        inner = [name for name, entry in clean.items() if not isinstance(entry, bool)]
        if len(inner) != 1 or not _classes(_folder(clean, inner[0])):
            return prefix, clean, passed_over
        prefix, tree = f"{prefix}{inner[0]}/", _folder(clean, inner[0])


def _folders(tree: Tree, names: Iterable[str]) -> list[str]:
    return sorted(n for n, entry in tree.items() if not isinstance(entry, bool) and n.lower() in names)


def _folder(tree: Tree, name: str) -> Tree:
    entry = tree[name]
    assert not isinstance(entry, bool)
    return entry


def _classes(tree: Tree) -> list[str]:
    """The names of the folders in a folder, in the order of their normal forms."""
    return sorted((n for n, entry in tree.items() if not isinstance(entry, bool) and not is_debris(n)), key=_normal)


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def class_files(
    tree: Tree, part: str, role: str, places: dict[str, int], listing: Listing
) -> Iterator[tuple[str, int]]:
    """The files of a set, with the place of their class; classes of the training set are numbered here."""
    names: dict[str, str] = {}
    for name in _classes(tree):
        where, folder, normal = str(PurePosixPath(part) / name), _folder(tree, name), _normal(name)
        files = sorted(file for file in folder if not is_debris(file))
        listing.passed_over += len(folder) - len(files)
        if normal in names:
            listing.faults.append(f"{where!r} and {names[normal]!r} are one name in two spellings: merge them")
            continue
        names[normal] = where
        if not files:
            if role == "train":
                listing.faults.append(f"{where!r} is a class without images")
            continue
        if role == "train":
            places[normal] = len(places)
        if normal not in places:
            listing.faults.append(f"{where!r} has images of class {normal!r}, and train has none")
            continue
        for file in files:
            if folder[file] is True:
                yield f"{where}/{file}", places[normal]
            else:
                listing.foreign.append(
                    f"{where + '/' + file!r} is not an image file: a class folder may contain only images"
                )
