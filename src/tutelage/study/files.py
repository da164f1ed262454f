"""The files of a study in a runs folder: what it is, and why parts of it are missing."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tutelage import errors, serialization, storage
from tutelage.lineage import Origins
from tutelage.study.spec import Study
from tutelage.validation import checked, parse_json


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """A study as it is stored, with all that decides where its models are; one entry per lineage.

    ``origins`` are the contents of the files that it names, so that its models are found without these. ``command``
    is the request as it was typed; ``experiment`` names the experiment of a paper that the study is, or is a part of;
    ``watch_test`` says that the test set is measured during training. None of the three decides what is learned.
    """

    study: Study
    precision: str
    fingerprints: tuple[str, ...]
    num_classes: tuple[int, ...]
    origins: Origins = Origins()
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


def study_folder(name: str, runs: Path) -> Path:
    """The folder of a study, which whoever runs it locks."""
    return runs / "studies" / name


def write_study(record: StudyRecord, runs: Path) -> None:
    """Store a study before it starts, so that a part of it can be shown while it runs.

    A study that changed gets a file of another name, and the manifest then names that one: at no time does a reader
    or a kill meet a new study with an old manifest.
    """
    folder = study_folder(record.study.name, runs)
    content, name = storage.json_bytes(serialization.to_json(record)), "study.json"
    number = 1 + max((_number(path) for path in (runs / "studies").glob("*")), default=0)
    with contextlib.suppress(storage.Damaged):  # it is new, or was cut short as it was written
        stored_name, stored = _stored_study(folder)
        if stored == content:
            return
        if stored_name == name:
            name = f"study-{number}.json"
    storage.commit(folder, {name: content}, {"number": number})
    for old in folder.glob("study*.json"):
        if old.name != name:
            old.unlink(missing_ok=True)


def _stored_study(folder: Path) -> tuple[str, bytes]:
    """The file of a study that its manifest names, verified; read again where it is being replaced.

    Errors: ``storage.Damaged``.
    """
    while True:
        manifest = storage.read_manifest(folder)
        names = [name for name in manifest["files"] if name.startswith("study") and name.endswith(".json")]
        if len(names) != 1:
            raise storage.Damaged(f"{folder / storage.MANIFEST} lists no study")
        try:
            return names[0], storage.read_listed(folder, names[0], storage.MAX_JSON)
        except storage.Damaged:
            if storage.read_manifest(folder) == manifest:
                raise


def _number(folder: Path) -> int:
    """The place of a study in the order in which they were stored: clocks jump, and copies have other times."""
    try:
        number = storage.read_manifest(folder)["note"].get("number")
    except (ValueError, OSError):  # damaged, written by a newer tutelage, or not readable
        return 0
    return number if type(number) is int and 0 <= number < 2**63 else 0


def changes_since(record: StudyRecord, runs: Path) -> str:
    """What a study was started with (precision, images, files) and that differs now; empty where nothing does."""
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
    return ", ".join([*changes, *before.origins.changes(record.origins)])


def write_failures(name: str, failures: Sequence[Failure], runs: Path) -> None:
    """Store the failures of the last run beside the study, in place of those of the run before."""
    path = study_folder(name, runs) / "failures.json"
    if failures or path.exists():
        storage.write_bytes(path, storage.json_bytes(serialization.to_json(failures)))


def load_failures(name: str, runs: Path) -> tuple[Failure, ...]:
    """Read what :func:`write_failures` stored.

    Errors: ``storage.Damaged``.
    """
    path = study_folder(name, runs) / "failures.json"
    try:
        content = storage.read_regular(path)
    except FileNotFoundError:
        return ()
    except ValueError as error:
        raise storage.Damaged(str(error)) from None
    failures: tuple[Failure, ...] = _value(content, path, tuple[Failure, ...])
    return failures


def studies(runs: Path) -> list[str]:
    """The names of all studies in a runs folder, the newest first; those that cannot be read come last."""
    order = {path: (_number(path), _stored_at(path)) for path in (runs / "studies").glob("*")}
    stored = [path for path, (_, time) in order.items() if time is not None]
    return [
        path.name for path in sorted(stored, key=lambda path: (order[path][0], order[path][1] or 0.0), reverse=True)
    ]


def _stored_at(folder: Path) -> float | None:
    """When the manifest of a study was written; 0 where that cannot be read, None where there is no study."""
    try:
        return (folder / storage.MANIFEST).stat().st_mtime if storage.is_finished(folder) else None
    except FileNotFoundError:  # deleted meanwhile
        return None
    except OSError:
        return 0.0


def load_study(name: str, runs: Path) -> StudyRecord:
    """Read a stored study.

    Errors: ``ValueError`` with the nearest names; ``storage.Damaged``.
    """
    folder = study_folder(name, runs)
    if "/" in name or not storage.is_finished(folder):
        names = studies(runs)
        if not names:
            raise ValueError(f"no run named {name!r}: {runs} has no runs yet")
        raise errors.unknown("run", name, names)
    file, content = _stored_study(folder)
    record: StudyRecord = _value(content, folder / file, StudyRecord)
    count = len(record.study.lineages)
    if not len(record.fingerprints) == len(record.num_classes) == count or min(record.num_classes) < 1:
        raise storage.Damaged(f"{folder / file} lacks the data of its {count} lineages")
    return record


def _value(content: bytes, path: Path, kind: Any) -> Any:
    """The stored value of this type in the content of a file.

    Errors: ``storage.Damaged`` with the file and the path within it.
    """
    try:
        return checked(serialization.from_json(parse_json(content, str(path))), kind, "$")
    except ValueError as error:
        message = str(error)
        raise storage.Damaged(message if message.startswith(str(path)) else f"{path}: {message}") from None
