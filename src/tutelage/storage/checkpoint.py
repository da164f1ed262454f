"""Moments of a training: the newest whole one is found, the one before it is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tutelage.storage.errors import Damaged, NewerFormat
from tutelage.storage.files import sync_folder
from tutelage.storage.folders import commit, is_finished, is_readable, remove, verify


class Checkpoint(NamedTuple):
    """A saved moment of training: its folder and number of steps."""

    folder: Path
    step: int


def checkpoints(folder: Path) -> list[Checkpoint]:
    """List what stands below ``folder/checkpoints``, newest first, valid or not; the order is by step, not time."""
    found = [Checkpoint(path, int(path.name)) for path in (folder / "checkpoints").glob("*") if path.name.isdigit()]
    return sorted(found, key=lambda checkpoint: -checkpoint.step)


def newest_checkpoint(folder: Path, warn: Any = print) -> Checkpoint | None:
    """Find the newest checkpoint that verifies, calling ``warn`` for each newer one that does not.

    Errors: :class:`Damaged` when finished checkpoints exist but none is valid: starting again from nothing would
    hide the loss. :class:`NewerFormat` for one that is newer than this tutelage.
    """
    faults = []
    for checkpoint in checkpoints(folder):
        if not is_finished(checkpoint.folder):
            continue  # a save that was cut short; it never existed
        try:
            verify(checkpoint.folder)
            sync_folder(checkpoint.folder)  # who saved it may have been killed before this
            return checkpoint
        except NewerFormat:
            raise
        except Damaged as fault:
            warn(f"skipping a damaged checkpoint: {fault}")
            faults.append(str(fault))
    if faults:
        raise Damaged(
            f"no checkpoint in {folder / 'checkpoints'} is valid ({'; '.join(faults)}): "
            "remove that folder to train this model again from the start"
        )
    return None


def save_checkpoint(folder: Path, step: int, files: Mapping[str, bytes], keep: int = 2) -> None:
    """Commit a checkpoint, read it back, then drop all before it but the newest whole ones: ``keep`` with this one.

    Errors: :class:`NoSpace`, ``OSError``; nothing of it is then left to take up space.
    """
    target = folder / "checkpoints" / f"{step:09d}"
    remove(target)
    try:
        commit(target, files)
    except OSError:
        remove(target)
        raise
    verify(target)
    kept = 1
    for old in checkpoints(folder):
        if old.step < step:
            if kept < keep and is_readable(old.folder, verify):
                kept += 1
            else:
                remove(old.folder)
