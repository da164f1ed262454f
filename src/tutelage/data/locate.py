"""Where CIFAR lies on a disk: an archive, the folder it unpacks to, or torchvision's root, which holds both."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tutelage.data.archive import top_folder
from tutelage.data.layouts import LAYOUTS, Layout, layout_of
from tutelage.data.listing import SETS
from tutelage.errors import listing
from tutelage.storage import open_regular

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pbm", ".pgm", ".ppm", ".pnm", ".tif", ".tiff", ".webp")
_SPLITS = {name for names in SETS.values() for name in names}


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that holds a dataset: unpacked, as archives, or both."""

    root: Path
    unpacked: Path | None
    archives: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """The archive or unpacked folder that an import reads; ``remark`` says why, where there was a choice."""

    path: Path
    remark: str = ""


def locate(name: str, path: Path) -> Origin:
    """The archive or unpacked folder of a dataset that a path stands for.

    A file is taken for the archive, whatever its name. A folder is the unpacked one, or holds that or the archive, at
    most one level further down. Where both lie beside each other, the archive is read if its checksum is the official
    one, else the folder.

    Errors: ``ValueError`` for an unknown name, and for a path with none or several of these.
    """
    layout = layout_of(name)
    if path.is_file():
        return Origin(path)
    if not path.is_dir():
        raise ValueError(f"there is no file or folder {str(path)!r} to import {name} from")
    places = places_in(layout, path)
    if len(places) > 1:
        raise ValueError(
            f"{str(path)!r} holds {name} {len(places)} times: choose one of "
            f"{listing(shlex.quote(str(place.root)) for place in places)}"
        )
    if not places:
        nearest = _nearest(name, layout, path)
        raise ValueError(
            f"{str(path)!r} holds no {name}: expected {layout.archive}, the folder {layout.folder} that it unpacks "
            f"to, or a folder that holds one of them{'; ' if nearest else ''}{nearest}"
        )
    return _select(layout, places[0])


def places_in(layout: Layout, folder: Path) -> list[Place]:
    """The places of a dataset: the folder itself, else those of its sub-folders that hold it, each once."""
    if place := _place(layout, folder):
        return [place]
    nested: dict[Path, Place] = {}
    for path in sorted(folder.iterdir()):
        with contextlib.suppress(OSError):  # what may not be read does not hide the others
            if not path.name.startswith(".") and path.is_dir() and (place := _place(layout, path)):
                nested.setdefault(path.resolve(), place)
    return list(nested.values())


def other_dataset(name: str, path: Path) -> str:
    """Which other dataset a file or folder holds, and the command that imports it; empty if none."""
    for other, layout in LAYOUTS.items():
        if other == name:
            continue
        if path.is_file():
            content = layout.folder if _is_archive(layout, path) else ""
        else:
            place = next(iter(places_in(layout, path)), None)
            content = ""
            if place:
                content = place.unpacked.resolve().name if place.unpacked else place.archives[0].name
        if content:
            return f"it holds {content}, which is {other}: `tutelage data import {other} {shlex.quote(str(path))}`"
    return ""


def import_advice(path: Path) -> str:
    """The command that imports what a file or folder holds, if that is CIFAR and no folder of images; else empty."""
    try:
        if path.is_dir():
            # First, whether there are images: an archive may lie beside their classes, and the first one is enough.
            candidates = {} if _holds_images(path) else LAYOUTS
            names = [name for name, layout in candidates.items() if places_in(layout, path)]
        else:
            names = [name for name, layout in LAYOUTS.items() if path.is_file() and _is_archive(layout, path)]
    except OSError:  # for instance a name too long for a path; reading it fails with a better message
        return ""
    if not names:
        return ""
    commands = " or ".join(f"`tutelage data import {name} {shlex.quote(str(path))}`" for name in names)
    options = " or ".join(f"`--data {name}`" for name in names)
    return f"{str(path)!r} holds {' and '.join(names)}, to be imported once: run {commands}, then use {options}"


def nearby(name: str) -> str:
    """The folder, of those where torchvision is usually told to keep its datasets, that holds this one, or empty."""
    for folder in (Path("data"), Path()):
        with contextlib.suppress(OSError):
            if folder.is_dir() and len(places := places_in(layout_of(name), folder)) == 1:
                return str(places[0].root)
    return ""


def _place(layout: Layout, folder: Path) -> Place | None:
    if _is_unpacked(layout, folder):
        return Place(root=folder, unpacked=folder, archives=())
    entries = sorted(folder.iterdir())
    folders = (path for path in entries if path.name.lower() == layout.folder and path.is_dir())
    unpacked = next((path for path in folders if _is_unpacked(layout, path)), None)
    archives = tuple(path for path in entries if _is_archive_name(layout, path) and path.is_file())
    return Place(root=folder, unpacked=unpacked, archives=archives) if unpacked or archives else None


def _is_unpacked(layout: Layout, folder: Path) -> bool:
    """Whether a folder has the dataset's files, all of them unless it also has the dataset's name."""
    missing = _missing(layout, folder)
    has_name = layout.folder in (folder.name.lower(), folder.resolve().name.lower())
    return not missing or (has_name and len(missing) < len(layout.files))


def _missing(layout: Layout, folder: Path) -> list[str]:
    return [file for file in layout.files if not (folder / file).is_file()]


def _is_archive_name(layout: Layout, path: Path) -> bool:
    return path.name.lower() in (layout.archive, layout.archive.replace(".tar.gz", ".tgz"))


def _is_archive(layout: Layout, path: Path) -> bool:
    if _is_archive_name(layout, path):
        return True
    try:
        with open_regular(path) as file:
            return top_folder(file) == layout.folder
    except ValueError:
        return False


def _select(layout: Layout, place: Place) -> Origin:
    unpacked, archives = place.unpacked, place.archives
    if not archives or (unpacked is None and len(archives) == 1):
        return Origin(unpacked or archives[0])
    official = next((path for path in archives if _is_official(layout, path)), None)
    if official:
        others = [path.name for path in (*archives, unpacked) if path and path != official]
        return Origin(official, f"the official archive; {listing(others)} beside it was not read")
    if unpacked and not _missing(layout, unpacked):
        return Origin(unpacked, f"{archives[0].name} beside it does not have the official checksum")
    if unpacked:
        return Origin(archives[0], f"{unpacked.name} beside it lacks {listing(_missing(layout, unpacked))}")
    return Origin(archives[0], f"neither it nor {archives[1].name} beside it has the official checksum")


def _is_official(layout: Layout, path: Path) -> bool:
    with open_regular(path) as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == layout.md5


def _nearest(name: str, layout: Layout, folder: Path) -> str:
    missing, names = _missing(layout, folder), sorted(path.name for path in folder.iterdir())
    if 0 < len(missing) < len(layout.files):
        present = [file for file in layout.files if file not in missing]
        return f"it has {listing(present)}, but lacks {listing(missing)}"
    own = [entry for entry in names if entry.lower().startswith((layout.folder, layout.archive))]
    if own:
        return f"its {own[0]} is empty or unfinished: `tutelage data get {name}` downloads the official archive"
    if other := other_dataset(name, folder):
        return other
    archives = [entry for entry in names if entry.lower().endswith((".tar.gz", ".tgz"))]
    if archives:
        example = shlex.quote(str(folder / archives[0]))
        return f"if {archives[0]} is its archive, name the file: `tutelage data import {name} {example}`"
    return f"`tutelage data get {name}` downloads it"


def _holds_images(folder: Path) -> bool:
    """Whether there is an image file in a sub-folder, or in a sub-folder of one that has the name of a split."""
    return any(name.lower().endswith(_IMAGES) for sub in _subfolders(folder) for name in _class_files(sub))


def _class_files(folder: Path) -> Iterator[str]:
    yield from _names(folder)
    if folder.name.lower() in _SPLITS:
        for sub in _subfolders(folder):
            yield from _names(sub)


def _subfolders(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir() and not entry.name.startswith("."):
                yield Path(entry.path)


def _names(folder: Path) -> Iterator[str]:
    with contextlib.suppress(PermissionError), os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name
