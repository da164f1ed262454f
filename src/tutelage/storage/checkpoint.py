"""Checkpoints of a training run: the newest valid one is used, and the one before it is kept as well."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.errors import printable
from tutelage.storage.errors import Damaged, NewerFormat
from tutelage.storage.files import sync_folder
from tutelage.storage.folders import commit, is_finished, is_readable, remove, verify


class Checkpoint(NamedTuple):
    """A checkpoint: its folder, and the number of training steps before it."""

    folder: Path
    step: int


def checkpoints(folder: Path) -> list[Checkpoint]:
    """List the checkpoints below ``folder/checkpoints``, valid or not, newest first: by step, not by time."""
    paths = [path for path in (folder / "checkpoints").glob("*") if path.name.isdigit()]
    return sorted((Checkpoint(path, int(path.name)) for path in paths), key=lambda checkpoint: -checkpoint.step)


def newest_checkpoint(folder: Path, warn: Any = print, owner: str = "") -> Checkpoint | None:
    """Find the newest valid checkpoint of ``owner``, calling ``warn`` for each newer one that is not valid.

    Errors: :class:`Damaged` if finished checkpoints exist but none is valid, because starting from scratch would hide
    the loss. :class:`NewerFormat` for one written by a newer version.
    """
    errors = []
    for checkpoint in checkpoints(folder):
        if not is_finished(checkpoint.folder):
            continue  # an interrupted save
        try:
            _verify(checkpoint.folder, owner)
            sync_folder(checkpoint.folder)  # the process that saved it may have been killed before doing so
            return checkpoint
        except NewerFormat:
            raise
        except Damaged as error:
            warn(f"skipping a damaged checkpoint: {error}")
            errors.append(str(error))
    if errors:
        raise Damaged(
            f"no checkpoint in {folder / 'checkpoints'} is valid ({'; '.join(errors)}): "
            "remove that folder to train this model again from the start"
        )
    return None


def save_checkpoint(folder: Path, step: int, files: Mapping[str, bytes], keep: int = 2, *, owner: str = "") -> None:
    """Save a checkpoint and verify it, then remove older ones except the newest valid: ``keep`` remain in all.

    ``owner`` says whose training it is part of: the address of a model.

    Errors: :class:`NoSpace`, ``OSError``; the incomplete checkpoint is then removed.
    """
    target = folder / "checkpoints" / f"{step:09d}"
    remove(target)
    try:
        commit(target, files, {"owner": owner})
    except OSError:
        remove(target)
        raise
    verify(target)
    valid = 1
    for old in checkpoints(folder):
        if old.step < step:
            if valid < keep and is_readable(old.folder, partial(_verify, owner=owner)):
                valid += 1
            else:
                remove(old.folder)


def _verify(folder: Path, owner: str) -> None:
    """Verify a checkpoint, and that it is one of ``owner``."""
    other = verify(folder)["note"].get("owner", "")
    if other != owner:
        raise Damaged(f"{folder} is a checkpoint of {printable(str(other))[:80] or 'no model'}, not of {owner}")
