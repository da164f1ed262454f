"""Class folders in a tar or zip, read where they lie: nothing is unpacked."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from tutelage.data.folder import Photographs, examined
from tutelage.data.listing import Tree, listed
from tutelage.data.sources import Source
from tutelage.data.tar_members import TarSource, tar_members
from tutelage.data.zip_members import ZipSource, zip_members
from tutelage.progress import Progress

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".7z", ".rar")
"""The endings of archives that are compressed as a whole."""


def is_archive(path: Path) -> bool:
    """Whether a path names a tar or zip; for one that cannot be read in any order it says what to do.

    Errors: ``ValueError`` for an archive that is compressed as a whole.
    """
    name = path.name.lower()
    try:
        is_file = path.is_file()
    except OSError:  # for instance a name too long for a path
        return False
    if name.endswith(COMPRESSED) and is_file:
        raise ValueError(
            f"{str(path)!r} is compressed as a whole, so that its images cannot be read in any order: unpack it "
            f"(tar xf {shlex.quote(str(path))}) and use the folder, or pack that as a .tar or .zip"
        )
    return name.endswith((".tar", ".zip")) and is_file


def examine_archive(
    path: Path, index: Path | None, progress: Progress, skip_broken: bool = False, again: bool = False
) -> Photographs:
    """List the images of a tar or zip and examine them, as :func:`tutelage.data.folder.examine_folder` does.

    Errors: those of ``examine_folder``, :func:`tar_members` and :func:`zip_members`.
    """
    source_type: Callable[..., Source]
    if path.name.lower().endswith(".zip"):
        names, source_type = list(members := zip_members(path)), functools.partial(ZipSource, members=members)
    else:
        names, source_type = list(places := tar_members(path)), functools.partial(TarSource, members=places)
    return examined(listed(_tree(names, path), str(path)), path, source_type, index, progress, skip_broken, again)


def _tree(names: Iterable[str], path: Path) -> Tree:
    """Names as a tree of folders.

    Errors: ``ValueError`` for a file that has the name of a folder.
    """
    root: dict[str, Tree | bool] = {}
    for name in names:
        *folders, file = PurePosixPath(name).parts
        tree = root
        for folder in folders:
            inner = tree.setdefault(folder, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{str(path)!r} is refused: {name!r} lies in a file")
            tree = inner
        if file in tree:
            raise ValueError(f"{str(path)!r} is refused: it contains {name!r} twice")
        tree[file] = True
    return root
