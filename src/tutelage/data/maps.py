"""The maps of prepared images on this machine: what each of them is, which there are, and how they are removed."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tutelage import storage
from tutelage.data.pixels import DecodedPixels
from tutelage.errors import listing
from tutelage.validation import checked, parse_json

PIXELS, NOTE = "pixels", "map.json"
FREE_SPACE = (
    "`tutelage data maps` lists images that were prepared for other runs and `tutelage data remove` frees their "
    "space; --image-store decoded needs none"
)
SHORT = 12
"""How many digits of a map's name are shown; any beginning that no other map shares will do."""
_NAME = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a map holds: ``rows`` of the ``images`` of the set at ``path`` are in it, as ``preparation`` says."""

    path: str
    preparation: Mapping[str, Any]
    rows: int
    images: int
    bytes: int

    @classmethod
    def of(cls, decoded: DecodedPixels, *, rows: int, images: int, bytes: int) -> Note:
        """The note of a map of these images."""
        path = os.fsencode(decoded.source.path.absolute()).decode("utf-8", "backslashreplace")
        preparation = asdict(decoded.preparation)
        return cls(path=path, preparation=preparation, rows=rows, images=images, bytes=bytes)

    @property
    def finished(self) -> bool:
        """Whether all images are in it."""
        return self.rows == self.images


@dataclass(frozen=True, slots=True)
class PreparedMap:
    """A folder with a map: ``note`` is None where nothing says what is in it; ``used`` is in seconds since 1970."""

    folder: Path
    note: Note | None
    size: int
    used: float

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return self.folder.name[:SHORT]


def read_note(folder: Path) -> Note | None:
    """Read what a map holds; None where no build has noted anything yet, or something else lies there."""
    try:
        content = checked(parse_json(storage.read_regular(folder / NOTE), NOTE), Mapping[str, Any], NOTE)
        note = Note(
            path=checked(content["path"], str, "path"),
            preparation=checked(content["preparation"], Mapping[str, Any], "preparation"),
            **{name: checked(content[name], int, name) for name in ("rows", "images", "bytes")},
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return note if 0 <= note.rows <= note.images and note.bytes >= 0 else None


def mark_used(folder: Path) -> None:
    """Note that a map is used now."""
    with contextlib.suppress(OSError):  # on a disk that is read only
        os.utime(folder / NOTE)


def prepared_maps(root: Path) -> list[PreparedMap]:
    """The maps below a folder, the one that was used last first."""
    maps = []
    for folder in root.glob("*") if root.is_dir() else ():
        if not _NAME.fullmatch(folder.name) or not folder.is_dir() or folder.is_symlink():
            continue
        size, used = 0, 0.0
        for name in (NOTE, PIXELS):
            with contextlib.suppress(OSError):
                status = (folder / name).lstat()
                size, used = size + status.st_size, max(used, status.st_mtime)
        maps.append(PreparedMap(folder, read_note(folder), size, used))
    return sorted(maps, key=lambda each: (-each.used, each.folder.name))


def chosen(maps: Sequence[PreparedMap], names: Sequence[str]) -> list[PreparedMap]:
    """The maps whose names begin so.

    Errors: ``ValueError`` for a name that is that of no map, or of several.
    """
    picked: dict[Path, PreparedMap] = {}
    for name in names:
        matches = [each for each in maps if name and each.folder.name.startswith(name.lower())]
        if len(matches) != 1:
            problem = "several maps" if matches else "no map"
            choices = listing(each.name for each in matches or maps) or "none: there are no maps"
            raise ValueError(f"{name!r} names {problem}: choose from {choices}")
        picked[matches[0].folder] = matches[0]
    return list(picked.values())


def remove_maps(maps: Sequence[PreparedMap]) -> tuple[list[str], int]:
    """Delete maps; returns why some are still there, and the bytes that were freed.

    Whoever has mapped one keeps what he has; one that is being built stays.

    Errors: ``OSError``.
    """
    in_use, freed = list[str](), 0
    for each in maps:
        try:
            with storage.lock(each.folder, wait=0.0):
                remove_map_files(each.folder)
                storage.remove(each.folder)
            freed += each.size
        except storage.InUse as error:
            in_use.append(str(error))
    return in_use, freed


def remove_indexes(folder: Path) -> None:
    """Delete what is remembered of files that were examined.

    Errors: ``OSError``.
    """
    for path in folder.glob("*.safetensors"):
        storage.remove_file(path)


def remove_map_files(folder: Path) -> None:
    """Delete the note of a map, then its pixels: pixels without a note count for nothing."""
    storage.remove_file(folder / NOTE)
    storage.remove_file(folder / PIXELS)
