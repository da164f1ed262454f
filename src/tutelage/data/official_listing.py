"""Images in the official layouts of ILSVRC2012, Tiny ImageNet and CINIC-10: listed where they lie."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
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
from tutelage.data.official_place import IMAGES, Place, subfolders

_TRUTH, _META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
_SOLUTION = "LOC_val_solution.csv"
_ANNOTATIONS = "val_annotations.txt"


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
    if unlabelled := [name for name in subfolders(root) if name.lower() in SETS["test"]]:
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
        images = tree.get(IMAGES, {})
        tree = {name: entry for name, entry in tree.items() if name != IMAGES}
        if not isinstance(images, bool):
            flat = {f"{IMAGES}/{name}": entry for name, entry in images.items()}
    flat_count = sum(not is_debris(name.rpartition("/")[2]) for name in flat)
    folders = {name: entry for name, entry in tree.items() if not isinstance(entry, bool)}
    if not flat_count:
        yield from class_files(_without_boxes(folders, listing), part, "test", dict(classes), listing)
        return
    if folders := {name: entry for name, entry in folders.items() if not is_debris(name)}:
        listing.faults.append(f"{part!r} has images in class folders such as {min(folders)!r} and beside these")
    paths = tables(place)
    if not paths:
        expected = _ANNOTATIONS if place.name == "tiny-imagenet" else f"ILSVRC2012_devkit_t12 or {_SOLUTION}"
        listing.faults.append(
            f"{part!r} has {flat_count:,} images and nothing that says of which class they are: expected {expected} "
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
    files = {file: entry for file, entry in tree.items() if file not in (IMAGES, f"{name}_boxes.txt")}
    images = tree.get(IMAGES, {})
    if isinstance(images, bool):
        return {**files, IMAGES: images}
    clean = {f"{IMAGES}/{file}": entry for file, entry in images.items() if not is_debris(file)}
    listing.passed_over += len(images) - len(clean)
    return {**files, **clean}
