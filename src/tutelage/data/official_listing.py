"""Images in the official layouts of ILSVRC2012, Tiny ImageNet and CINIC-10: found and listed where they lie."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tutelage.data.decode_cache import file_state
from tutelage.data.folder import folder_tree
from tutelage.data.listing import SETS, Listing, Tree, class_files, is_debris, listed
from tutelage.data.official import OFFICIAL
from tutelage.data.official_classes import (
    WNID,
    ClassTable,
    read_annotations,
    read_ground_truth,
    read_solution,
)
from tutelage.errors import listing as enumeration

_INNER = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")
"""Where Kaggle's archive of ILSVRC2012 has the images."""
_TRUTH, _META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
_SOLUTION = "LOC_val_solution.csv"
_UNPACKED = {"train": "ilsvrc2012_img_train", "test": "ilsvrc2012_img_val"}
_ANNOTATIONS = "val_annotations.txt"
_IMAGES = "images"
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
    places = _places(name, path) or [place for sub in _subfolders(path) for place in _places(name, path / sub)]
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
    subfolders = list(itertools.islice(_subfolders(path), 2))
    for folder in (path, *(path / sub for sub in subfolders if len(subfolders) == 1)):
        for name in ("tiny-imagenet", "ilsvrc2012"):
            for place in _places(name, folder):
                if _has_own_layout(place):
                    return place
    return None


def _has_own_layout(place: Place) -> bool:
    root, folders = place.root, place.folders
    if place.name == "tiny-imagenet":
        classes = (root / folders["train"] / sub for sub in _subfolders(root / folders["train"]))
        first = next(classes, None)
        return first is not None and (first / _IMAGES).is_dir() and WNID.fullmatch(first.name) is not None
    with os.scandir(root / folders["test"]) as entries:
        return any(entry.name.startswith("ILSVRC2012_val_") for entry in itertools.islice(entries, 100))


def official_listing(place: Place) -> Listing:
    """List the images of an official dataset; classes are numbered in the order of their folders' names.

    Errors: ``ValueError`` for a folder without the classes of this dataset; other faults are in the listing.
    """
    root, official = place.root, OFFICIAL[place.name]
    trees = {role: folder_tree(root / folder, 3) for role, folder in place.folders.items()}
    train = place.folders["train"]
    names = [name for name, entry in trees["train"].items() if not isinstance(entry, bool) and not is_debris(name)]
    foreign = sorted(
        name for name in names if not (name in official.class_names if official.class_names else WNID.fullmatch(name))
    )
    if foreign or not names:
        expected = f", expected those of {official.title}, such as {(*official.class_names, 'n01440764')[0]}"
        if any(name.endswith(".tar") for name in trees["train"]):
            expected = ": unpack each .tar in it into a folder of its name"
        problem = f"the class {foreign[0]!r}" if foreign else "no class folders"
        raise ValueError(f"{str(root / train)!r} has {problem}{expected}")
    if place.name == "cinic10":
        return listed({place.folders[role]: tree for role, tree in trees.items()}, str(root))
    listing = Listing(classes=(), sets={})
    classes: dict[str, int] = {}
    if place.name == "tiny-imagenet":
        trees["train"] = _without_boxes(trees["train"], listing)
    listing.sets["train"] = list(class_files(trees["train"], train, "train", classes, listing))
    listing.classes = tuple(classes)
    listing.sets["test"] = list(_test_files(place, trees["test"], classes, listing))
    listing.notes.append(f"{place.folders['test']} is the test set")
    if unlabelled := [name for name in _subfolders(root) if name.lower() in SETS["test"]]:
        listing.notes.append(f"{unlabelled[0]} has no labels and is not used")
    return listing


def tables(place: Place) -> list[Path]:
    """The files beside the images that say which class these belong to."""
    if place.name == "tiny-imagenet":
        return [path for path in (place.root / place.folders["test"] / _ANNOTATIONS,) if path.is_file()]
    folders = [place.root, *place.root.parents[: 3 if place.root.name == "CLS-LOC" else 1]]
    for folder in folders if place.name == "ilsvrc2012" else ():
        for kit in (folder / "ILSVRC2012_devkit_t12" / "data", folder / "data", folder):
            if (kit / _TRUTH).is_file():
                return [kit / _TRUTH, kit / _META]
        if (folder / _SOLUTION).is_file():
            return [folder / _SOLUTION]
    return []


def table_state(place: Place) -> str:
    """What changes with the files beside the images that say which class these belong to."""
    return " ".join(f"{path} {file_state(path)}" for path in tables(place))


def _test_files(place: Place, tree: Tree, classes: Mapping[str, int], listing: Listing) -> Iterator[tuple[str, int]]:
    """The validation images: in class folders, or in one folder with a table beside it."""
    part = place.folders["test"]
    flat: Tree = {name: entry for name, entry in tree.items() if isinstance(entry, bool) and name != _ANNOTATIONS}
    if place.name == "tiny-imagenet":
        images = tree.get(_IMAGES, {})
        tree = {name: entry for name, entry in tree.items() if name != _IMAGES}
        if not isinstance(images, bool):
            flat = {f"{_IMAGES}/{name}": entry for name, entry in images.items()}
    flat_count = sum(not is_debris(name.rpartition("/")[2]) for name in flat)
    folders = {name: entry for name, entry in tree.items() if not isinstance(entry, bool)}
    if not flat_count:
        yield from class_files(_without_boxes(folders, listing), part, "test", dict(classes), listing)
        return
    if folders := {name: entry for name, entry in folders.items() if not is_debris(name)}:
        listing.faults.append(f"{part!r} has images in class folders such as {min(folders)!r} and beside these")
    paths = tables(place)
    if not paths:
        wanted = _ANNOTATIONS if place.name == "tiny-imagenet" else f"ILSVRC2012_devkit_t12 or {_SOLUTION}"
        listing.faults.append(
            f"{part!r} has {flat_count:,} images and nothing that says of which class they are: expected {wanted} "
            f"{'in' if place.name == 'tiny-imagenet' else 'beside'} it"
        )
        return
    if place.name == "tiny-imagenet":
        table = read_annotations(paths[0])
    elif len(paths) == 1:
        table = read_solution(paths[0])
    else:
        table = read_ground_truth(paths[0], paths[1], flat_count)
    yield from _by_table(flat, place, table, classes, listing)


def _by_table(
    flat: Tree, place: Place, table: ClassTable, classes: Mapping[str, int], listing: Listing
) -> Iterator[tuple[str, int]]:
    where = repr(os.path.relpath(table.path, place.root))
    listing.faults += [f"{where}: {fault}" for fault in table.faults]
    foreign: Counter[str] = Counter()
    for name in sorted(flat):
        path, base = f"{place.folders['test']}/{name}", name.rpartition("/")[2]
        if is_debris(base):
            listing.passed_over += 1
        elif flat[name] is not True:
            listing.faults.append(f"{path!r} is not an image file")
        elif base not in table.classes:
            listing.faults.append(f"{path!r} has no class in {table.path.name}")
        elif wnid := table.classes[base]:
            if wnid in classes:
                yield path, classes[wnid]
            else:
                foreign[wnid] += 1
    for wnid, count in sorted(foreign.items()):
        listing.faults.append(f"{where}: {count:,} of its images are of class {wnid!r}, and train has none")


def _without_boxes(tree: Tree, listing: Listing) -> Tree:
    """Class folders whose images lie in a folder ``images`` beside a list of boxes, as if they lay in themselves."""
    return {name: _class_tree(name, entry, listing) for name, entry in tree.items() if not isinstance(entry, bool)}


def _class_tree(name: str, tree: Tree, listing: Listing) -> Tree:
    files = {file: entry for file, entry in tree.items() if file not in (_IMAGES, f"{name}_boxes.txt")}
    images = tree.get(_IMAGES, {})
    if isinstance(images, bool):
        return {**files, _IMAGES: images}
    clean = {f"{_IMAGES}/{file}": entry for file, entry in images.items() if not is_debris(file)}
    listing.passed_over += len(images) - len(clean)
    return {**files, **clean}


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
    folders, subfolders = {}, list(_subfolders(root))
    for role in OFFICIAL[name].sizes:
        usual = SETS["holdout" if role == "test" and name != "cinic10" else role]
        official = _UNPACKED.get(role) if name == "ilsvrc2012" else None
        folders[role] = [each for each in subfolders if each.lower() in usual or each.lower() == official]
    return folders


def _subfolders(folder: Path) -> Iterator[str]:
    """The names of the folders in a folder, in their order."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not is_debris(entry.name))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    yield from names
