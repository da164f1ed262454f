"""The files of a study in a runs folder: what it is, and why parts of it are missing."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tutelage import errors, serialization, storage
from tutelage.study.spec import Study
from tutelage.validation import checked, parse_json


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """A study as it is stored, with all that decides where its models are; one entry per lineage.

    ``command`` is the request as it was typed; ``experiment`` names the experiment of a paper that the study is, or
    is a part of; ``watch_test`` says that the test set is measured during training. None of these decides what is
    learned.
    """

    study: Study
    precision: str
    fingerprints: tuple[str, ...]
    num_classes: tuple[int, ...]
    command: str = ""
    experiment: str = ""
    watch_test: bool = False

    def __post_init__(self) -> None:
        checked(self.precision, Literal["fp32", "bf16"], "precision")
        for lineage in self.study.lineages:
            for name in ("train_size", "test_size"):
                size = getattr(lineage.data, name)
                if size is not None and size < 1:
                    raise ValueError(f"{lineage.name}: {name} is {size}: expected 1 or more")
            if lineage.data.holdout < 0:
                raise ValueError(f"{lineage.name}: holdout is {lineage.data.holdout}: expected 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a seed, or one arm of it where ``arm`` says so, failed when the study was last run."""

    seed: int
    arm: str
    message: str

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"a seed is {self.seed}: expected a whole number from 0 on")


def write_study(record: StudyRecord, runs: Path) -> None:
    """Store a study before it starts, so that a part of it can be shown while it runs."""
    folder = runs / "studies" / record.study.name
    content = storage.json_bytes(serialization.to_json(record))
    with contextlib.suppress(storage.Damaged):  # it is new, or was cut short as it was written
        if storage.read_listed(folder, "study.json") == content:
            return
    number = 1 + max((_number(path) for path in (runs / "studies").glob("*")), default=0)
    storage.commit(folder, {"study.json": content}, {"number": number})


def _number(folder: Path) -> int:
    """The place of a study in the order in which they were stored: clocks jump, and copies have other times."""
    try:
        number = storage.read_manifest(folder)["note"].get("number")
    except ValueError:  # damaged, or written by a newer tutelage
        return 0
    return number if type(number) is int and 0 <= number < 2**63 else 0


def changes_since(record: StudyRecord, runs: Path) -> str:
    """The precision and images that a study was started with and that differ now; empty where nothing does."""
    try:
        before = load_study(record.study.name, runs)
    except ValueError:  # it is new, or damaged and about to be written again
        return ""
    changes = []
    if before.precision != record.precision:
        changes.append(f"precision was {before.precision}, now {record.precision}")
    for lineage, old, new in zip(record.study.lineages, before.fingerprints, record.fingerprints, strict=True):
        if old != new:
            changes.append(f"{lineage.name}: the images of {lineage.data.name} have changed")
    return ", ".join(changes)


def write_failures(name: str, failures: Sequence[Failure], runs: Path) -> None:
    """Store the failures of the last run beside the study, in place of those of the run before."""
    path = runs / "studies" / name / "failures.json"
    if failures or path.exists():
        storage.write_bytes(path, storage.json_bytes(serialization.to_json(failures)))


def load_failures(name: str, runs: Path) -> tuple[Failure, ...]:
    """Read what :func:`write_failures` stored.

    Errors: ``storage.Damaged``.
    """
    path = runs / "studies" / name / "failures.json"
    if not path.exists():
        return ()
    try:
        content = storage.read_regular(path)
    except ValueError as error:
        raise storage.Damaged(str(error)) from None
    failures: tuple[Failure, ...] = _parse(content, path, tuple[Failure, ...])
    return failures


def studies(runs: Path) -> list[str]:
    """The names of all studies in a runs folder, the newest first."""
    folders = [path for path in (runs / "studies").glob("*") if storage.is_finished(path)]
    order = {path: (_number(path), (path / "study.json").stat().st_mtime) for path in folders}
    return [path.name for path in sorted(folders, key=order.__getitem__, reverse=True)]


def load_study(name: str, runs: Path) -> StudyRecord:
    """Read a stored study.

    Errors: ``ValueError`` with the nearest names; ``storage.Damaged``.
    """
    folder = runs / "studies" / name
    if "/" in name or not storage.is_finished(folder):
        names = studies(runs)
        if not names:
            raise ValueError(f"no run named {name!r}: {runs} has no runs yet")
        raise errors.unknown("run", name, names)
    storage.verify(folder)
    path = folder / "study.json"
    record: StudyRecord = _parse(storage.read_listed(folder, path.name, storage.MAX_JSON), path, StudyRecord)
    count = len(record.study.lineages)
    if not len(record.fingerprints) == len(record.num_classes) == count or min(record.num_classes) < 1:
        raise storage.Damaged(f"{path} lacks the data of its {count} lineages")
    return record


def _parse(content: bytes, path: Path, kind: Any) -> Any:
    """Read a stored value of this type from the content of its file.

    Errors: ``storage.Damaged`` with the file and the path within it.
    """
    try:
        return checked(serialization.from_json(parse_json(content, str(path))), kind, "$")
    except ValueError as error:
        message = str(error)
        raise storage.Damaged(message if message.startswith(str(path)) else f"{path}: {message}") from None
