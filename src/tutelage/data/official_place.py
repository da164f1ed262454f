"""Where ILSVRC2012, Tiny ImageNet and CINIC-10 lie in a folder: the folders of their sets, by the names of these."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tutelage.data.listing import SETS, is_debris
from tutelage.data.official import OFFICIAL
from tutelage.data.official_classes import WNID
from tutelage.errors import listing as enumeration

IMAGES = "images"
"""The folder of Tiny ImageNet that holds the images of a class, or of the validation set."""
_INNER = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
"""Where Kaggle's archive of ILSVRC2012 has the images."""
_UNPACKED = {"train": "ilsvrc2012_img_train", "test": "ilsvrc2012_img_val"}
_EXPECTED = {
    "ilsvrc2012": "train/<synset>/*.JPEG, and val/<synset>/*.JPEG or val/*.JPEG with ILSVRC2012_devkit_t12 or "
    "LOC_val_solution.csv",
    "tiny-imagenet": "train/<synset>/images/*.JPEG, and val/images/*.JPEG with val/val_annotations.txt",
    "cinic10": "train/<class>/*.png, valid/<class>/*.png and test/<class>/*.png",
}


@dataclass(frozen=True, slots=True)
class Place:
    """The folder that holds the sets of an official dataset; ``folders`` are their names by set."""

    name: str
    root: Path
    folders: Mapping[str, str]


def find(name: str, path: Path) -> Place:
    """The images of an official dataset in a folder: in itself, or in one below it.

    Errors: ``ValueError`` that says what was expected; ``OSError``.
    """
    if not path.is_dir():
        raise ValueError(f"there is no folder {str(path)!r} to import {name} from: unpack its archive first")
    places = _places(name, path) or [place for sub in subfolders(path) for place in _places(name, path / sub)]
    if len(places) > 1:
        raise ValueError(
            f"{str(path)!r} holds {name} {len(places)} times: choose one of "
            f"{enumeration(repr(str(each.root)) for each in places)}"
        )
    if not places:
        double = [names for names in _set_folders(name, path).values() if len(names) > 1]
        if double:
            raise ValueError(f"{str(path)!r} has the folders {enumeration(double[0])} for one set: keep one of them")
        parent = f"; its parent {str(path.parent)!r} is in that layout" if _place(name, path.parent) else ""
        raise ValueError(f"{str(path)!r} is not in the layout of {name}: expected {_EXPECTED[name]}{parent}")
    return places[0]


def recognized(path: Path) -> Place | None:
    """The official dataset in a folder, where its layout is none of class folders alone; else None.

    Errors: ``OSError``.
    """
    inner = list(itertools.islice(subfolders(path), 2))
    for folder in (path, *(path / sub for sub in inner if len(inner) == 1)):
        for name in ("tiny-imagenet", "ilsvrc2012"):
            for place in _places(name, folder):
                if _has_own_layout(place):
                    return place
    return None


def _has_own_layout(place: Place) -> bool:
    root, folders = place.root, place.folders
    if place.name == "tiny-imagenet":
        classes = (root / folders["train"] / sub for sub in subfolders(root / folders["train"]))
        first = next(classes, None)
        return first is not None and (first / IMAGES).is_dir() and WNID.fullmatch(first.name) is not None
    with os.scandir(root / folders["test"]) as entries:
        return any(entry.name.startswith("ILSVRC2012_val_") for entry in itertools.islice(entries, 100))


def _places(name: str, folder: Path) -> list[Place]:
    """The sets of a dataset in a folder, or where Kaggle's archive has them; one at most, in a list."""
    places = (_place(name, folder / inner) for inner in (_INNER if name == "ilsvrc2012" else _INNER[:1]))
    return [place for place in places if place][:1]


def _place(name: str, root: Path) -> Place | None:
    """The sets in a folder by their names, where it has each of this dataset's once."""
    folders = _set_folders(name, root)
    return Place(name, root, {role: each for role, (each,) in folders.items()}) if _is_clear(folders) else None


def _is_clear(folders: Mapping[str, list[str]]) -> bool:
    return all(len(names) == 1 for names in folders.values())


def _set_folders(name: str, root: Path) -> dict[str, list[str]]:
    folders = {}
    names = list(subfolders(root))
    for role in OFFICIAL[name].sizes:
        usual = SETS["holdout" if role == "test" and name != "cinic10" else role]
        official = _UNPACKED.get(role) if name == "ilsvrc2012" else None
        folders[role] = [each for each in names if each.lower() in usual or each.lower() == official]
    return folders


def subfolders(folder: Path) -> Iterator[str]:
    """The names of the folders in a folder, in their order."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not is_debris(entry.name))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    yield from names
