"""Images that lie in archives: zips and tars of class folders, and shards; they are read where they lie."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tutelage.data.folder import Photographs, examine_folder, examined
from tutelage.data.listing import Listing, listed
from tutelage.data.members import tree_of
from tutelage.data.shards import are_samples, members_of, samples_of, shard_listing, shards_in
from tutelage.data.sources import Source
from tutelage.data.tar_source import TarSource, tar_members
from tutelage.data.zip_source import ZipSource, zip_members
from tutelage.progress import Progress
from tutelage.storage import open_regular

_NAME = re.compile(r"\.(tar(\.\w+)?|zip|7z|rar|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
_PACKED = {
    b"\x1f\x8b": "gunzip -k",
    b"BZh": "bunzip2 -k",
    b"\xfd7zXZ\0": "unxz -k",
    b"\x28\xb5\x2f\xfd": "unzstd",
    b"\x04\x22\x4d\x18": "unlz4",
}
"""How files begin that are compressed as a whole, and the command that makes a tar of them."""
_OTHERS = {b"7z\xbc\xaf\x27\x1c": "7z x", b"Rar!": "unrar x"}


def holds_files(path: Path) -> bool:
    """Whether a path is a folder, or a file with the name of an archive, of any kind."""
    return path.is_dir() or (_NAME.search(path.name) is not None and path.is_file())


def examine_images(
    path: Path,
    index: Path | None,
    progress: Progress = lambda *_: None,
    skip_broken: bool = False,
    again: bool = False,
) -> Photographs:
    """Examine the images of a folder, of a folder of shards, or of an archive.

    Errors: those of :func:`examine_folder`; ``ValueError`` for an archive that cannot be read at random, or is
    damaged or hostile.
    """
    if not path.is_dir():
        listing, source = _archive(path)
    elif shards := shards_in(path):
        listing, source = shard_listing(path, members_of(shards))
    else:
        return examine_folder(path, index, progress, skip_broken, again)
    if not listing.faults and not listing.sets:
        raise ValueError(f"{str(path)!r} has no images")

    places = {name: place for place, name in enumerate(source.names)}

    def chosen(_: Path, names: Sequence[str]) -> Source:
        return replace(source, names=names, places=source.places[[places[name] for name in names]])

    return examined(listing, path, chosen, index, progress, skip_broken, again)


def _archive(path: Path) -> tuple[Listing, TarSource | ZipSource]:
    with open_regular(path) as file:
        start = file.read(8)
    _refuse_packed(path, start)
    if start.startswith(b"PK"):
        in_zip = zip_members(path)
        listing, rows = _class_folders(path, in_zip.names, in_zip.folders)
        return listing, ZipSource(path, [in_zip.names[row] for row in rows], in_zip.archive, in_zip.places[rows])
    members = tar_members(path)
    if are_samples(samples_of(members.names)[0]):
        return shard_listing(path, {"": members})
    listing, rows = _class_folders(path, members.names, members.folders)
    places = np.insert(members.places[rows], 0, 0, axis=1)
    return listing, TarSource(path, [members.names[row] for row in rows], (members.archive,), places)


def _class_folders(path: Path, names: Sequence[str], folders: Sequence[str]) -> tuple[Listing, list[int]]:
    """List class folders as those of a folder; returns also the row of each file in ``names``."""
    try:
        tree = tree_of(names, folders)
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is refused: {error}") from None
    listing = listed(tree, str(path))
    rows = {name: row for row, name in enumerate(names)}
    return listing, [rows[name] for entries in listing.sets.values() for name, _ in entries]


def _refuse_packed(path: Path, start: bytes) -> None:
    """Refuse what cannot be read at random.

    Errors: ``ValueError`` with the command that makes a tar, or a folder, of it.
    """
    name = shlex.quote(str(path))
    for magic, command in _PACKED.items():
        if start.startswith(magic):
            raise ValueError(
                f"{str(path)!r} is compressed as a whole, so that no image can be read alone: make a .tar of it "
                f"(`{command} {name}`), or unpack it (`tar -xf {name}`)"
            )
    for magic, command in _OTHERS.items():
        if start.startswith(magic):
            raise ValueError(
                f"{str(path)!r} is no .zip or .tar: unpack it (`{command} {name}`), or repack it as .zip"
            )
