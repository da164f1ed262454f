"""Official datasets by name: where their images lie is recorded, and nothing of them is copied."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from tutelage import storage
from tutelage.data.faults import BrokenFiles
from tutelage.data.folder import Photographs, examined
from tutelage.data.official import OFFICIAL, mark
from tutelage.data.official_listing import official_listing
from tutelage.data.official_place import Place, find
from tutelage.data.sources import FolderSource
from tutelage.progress import Progress
from tutelage.validation import parse_json

_FILE = "place.json"
_WAIT = 60.0


def import_place(name: str, path: Path, root: Path) -> str:
    """Check that a folder holds an official dataset, by its names alone, and record where it is; describes it.

    Errors: ``ValueError`` for another layout; :class:`BrokenFiles`; an earlier import is left unchanged.
    """
    place, folder = find(name, path), root / name
    description = described(replace(place, root=_absolute(place.root)))
    absolute = _absolute(path)
    if _is_images(folder):
        if folder.resolve() == absolute.resolve():
            return f"{description}; {folder} needs no import"
        raise ValueError(f"{str(folder)!r} holds images itself, which {name} is read from: move them away first")
    with storage.lock(folder, wait=_WAIT):
        storage.commit(folder, {_FILE: storage.json_bytes({"folder": str(absolute)})}, note={"name": name})
    return description


def imported(name: str, root: Path) -> Place:
    """Where the images of an official dataset lie, as it was imported or put below ``root``.

    Errors: ``ValueError`` with the command that imports it; ``storage.Damaged``.
    """
    folder = root / name
    if storage.is_finished(folder):
        path = _recorded(name, folder)
        if not path.is_dir():
            raise ValueError(
                f"{name} was imported from {str(path)!r}, and there is no such folder any more: run `tutelage data "
                f"import {name} PATH` with its new one"
            )
        return find(name, path)
    if _is_images(folder):
        return find(name, folder)
    raise ValueError(
        f"{name} is not in {root}: run `tutelage data import {name} PATH` with the folder of its images "
        f"(`tutelage data get {name}` says where to get them)"
    )


def is_imported(name: str, root: Path) -> bool:
    """Whether an official dataset was imported or put below ``root``."""
    return storage.is_finished(root / name) or _is_images(root / name)


def examine_place(
    place: Place,
    index: Path | None,
    progress: Progress = lambda *_: None,
    skip_broken: bool = False,
    again: bool = False,
) -> Photographs:
    """List and examine the images of an official dataset; see :func:`tutelage.data.folder.examine_folder`.

    Errors: :class:`BrokenFiles`; ``ValueError``.
    """
    photographs = examined(official_listing(place), place.root, FolderSource, index, progress, skip_broken, again)
    sizes = {role: len(rows) for role, rows in photographs.rows.items()}
    return replace(photographs, mark=mark(place.name, sizes, len(photographs.class_names)))


def advice(name: str) -> str:
    """Where to get an official dataset and what to do then."""
    official = OFFICIAL[name]
    return (
        f"tutelage does not download {name}: {official.source}; unpack it and run `tutelage data import {name} PATH`"
    )


def described(place: Place) -> str:
    """What a folder holds, by its names alone.

    Errors: those of :func:`official_listing`; :class:`BrokenFiles`.
    """
    listing, name = official_listing(place), place.name
    if listing.faults:
        raise BrokenFiles(
            [f"{fault[0]}{place.root}/{fault[1:]}" for fault in listing.faults], place.root, may_skip=False
        )
    sizes = {role: len(files) for role, files in listing.sets.items()}
    nouns = OFFICIAL[name].nouns
    counts = " and ".join(f"{sizes.get(role, 0):,} {nouns[role]}" for role in OFFICIAL[name].sizes)
    difference = mark(name, sizes, len(listing.classes))
    return (
        f"{name} is read from {str(place.root)!r}: {counts} images in {len(listing.classes):,} classes, "
        f"{difference or 'the official counts'}"
    )


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - a link stays one


def _recorded(name: str, folder: Path) -> Path:
    try:
        if storage.read_manifest(folder)["note"].get("name") != name:
            raise storage.Damaged(f"{folder} was not written by importing {name}")
        value = parse_json(storage.read_listed(folder, _FILE, 1 << 16), str(folder / _FILE))
        if not isinstance(value, dict) or not isinstance(path := value.get("folder"), str) or "\0" in path:
            raise storage.Damaged(f"{folder / _FILE} names no folder")
    except ValueError as error:
        raise storage.Damaged(f"{error}; import {name} again") from None
    return Path(path)


def _is_images(folder: Path) -> bool:
    """Whether there is a folder or link that somebody put there, with more in it than a lock."""
    if storage.is_finished(folder) or not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(not entry.name.startswith(".") and entry.is_dir() for entry in entries)
