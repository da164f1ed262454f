"""A study as a frozen value, and where it is written down."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage import errors, serialization, storage
from tutelage.lineage import Lineage
from tutelage.validation import checked, parse_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Arms x seeds: each lineage is an arm under its own name, trained once for every seed.

    ``reference`` names the arm that the others are compared to, the first by default; ``title`` replaces the arms in
    the study's name. ``watch_test`` and ``meter`` are those of ``lineage.train``.

    Errors: ``ValueError`` for no lineage, two of one name, no seed, a seed twice, or a reference that is no arm.
    """

    lineages: tuple[Lineage, ...]
    seeds: tuple[int, ...] = (0,)
    reference: str | None = None
    title: str | None = None
    watch_test: bool = False
    meter: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "lineages", tuple(self.lineages))
        object.__setattr__(self, "seeds", tuple(self.seeds))
        if not self.lineages:
            raise ValueError("a study needs at least one lineage")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"a study needs seeds, each once, not {list(self.seeds)}")
        if not all(0 <= seed < 2**63 for seed in self.seeds):
            raise ValueError(f"seeds are whole numbers from 0 on, not {list(self.seeds)}")
        arms = [lineage.name for lineage in self.lineages]
        for arm in arms:
            if arms.count(arm) > 1:
                raise ValueError(f"two arms of a study are named {arm!r}: give each a name of its own")
            if not arm.strip() or not arm.isprintable():
                raise ValueError(f"an arm's name is one line of text, not {arm!r}")
        if self.reference is not None and self.reference not in arms:
            raise errors.unknown("reference", self.reference, arms)

    @property
    def name(self) -> str:
        """A readable name that no other study has: its title, or arms, data and network; and a hash of the whole."""
        first = self.lineages[0]
        words = [*(lineage.name for lineage in self.lineages[:3]), first.data.name, first.generations[-1].model]
        if self.title is not None:
            words = [self.title]
        slug = "-".join(re.sub(r"[^A-Za-z0-9_]+", "-", Path(word).stem).strip("-")[:40] for word in words)
        return f"{slug}-{serialization.digest(self)[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """A study as it is written down: with it, all that decides where its models lie; one entry a lineage.

    ``command`` is what it was asked for with, as it was typed; ``experiment`` names the experiment of a paper that it
    is, or is a part of. Neither decides anything.
    """

    study: Study
    precision: str
    fingerprints: tuple[str, ...]
    num_classes: tuple[int, ...]
    command: str = ""
    experiment: str = ""


def write_study(written: StudyRecord, runs: Path) -> None:
    """Write a study down before it starts, so that a part of it can be shown while it runs."""
    folder = runs / "studies" / written.study.name
    content = storage.json_bytes(serialization.to_json(written))
    with contextlib.suppress(storage.Damaged):  # it is new, or was cut short as it was written
        storage.verify(folder)
        if (folder / "study.json").read_bytes() == content:
            return
    number = 1 + max((_number(path) for path in (runs / "studies").glob("*")), default=0)
    storage.commit(folder, {"study.json": content}, {"number": number})


def _number(folder: Path) -> int:
    """The place of a study in the order in which they were written: clocks jump, and copies have other times."""
    try:
        number = storage.read_manifest(folder)["note"].get("number")
    except ValueError:  # damaged, or of a newer tutelage
        return 0
    return number if isinstance(number, int) else 0


def begun_otherwise(written: StudyRecord, runs: Path) -> str:
    """What a study would now be trained on or in that it was not when it was written down; empty where nothing."""
    try:
        before = load_study(written.study.name, runs)
    except ValueError:  # it is new, or damaged and about to be written again
        return ""
    found = []
    if before.precision != written.precision:
        found.append(f"precision was {before.precision}, now {written.precision}")
    for lineage, old, new in zip(written.study.lineages, before.fingerprints, written.fingerprints, strict=True):
        if old != new:
            found.append(f"{lineage.name}: the images of {lineage.data.name} are others now")
    return ", ".join(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a seed, or one arm of it where ``arm`` says so, came to nothing when the study was last run."""

    seed: int
    arm: str
    text: str


def write_failures(name: str, failures: Sequence[Failure], runs: Path) -> None:
    """Keep the reasons of the last run beside the study, in the place of those of the run before."""
    path = runs / "studies" / name / "failures.json"
    if failures or path.exists():
        storage.write_bytes(path, storage.json_bytes(serialization.to_json(failures)))


def load_failures(name: str, runs: Path) -> tuple[Failure, ...]:
    """Read what :func:`write_failures` kept.

    Errors: ``storage.Damaged``.
    """
    path = runs / "studies" / name / "failures.json"
    found: tuple[Failure, ...] = _read(path, tuple[Failure, ...]) if path.exists() else ()
    return found


def studies(runs: Path) -> list[str]:
    """The names of all studies in a runs folder, the newest first."""
    found = [path for path in (runs / "studies").glob("*") if storage.is_finished(path)]
    order = {path: (_number(path), (path / "study.json").stat().st_mtime) for path in found}
    return [path.name for path in sorted(found, key=order.__getitem__, reverse=True)]


def load_study(name: str, runs: Path) -> StudyRecord:
    """Read a study that was written down.

    Errors: ``ValueError`` with the nearest names; ``storage.Damaged``.
    """
    folder = runs / "studies" / name
    if "/" in name or not storage.is_finished(folder):
        known = studies(runs)
        if not known:
            raise ValueError(f"no run named {name!r}: {runs} holds none yet")
        raise errors.unknown("run", name, known)
    storage.verify(folder)
    written: StudyRecord = _read(folder / "study.json", StudyRecord)
    several = len(written.study.lineages)
    if not len(written.fingerprints) == len(written.num_classes) == several or min(written.num_classes) < 1:
        raise storage.Damaged(f"{folder / 'study.json'} lacks the data of its {several} lineages")
    return written


def _read(path: Path, kind: Any) -> Any:
    """A value as it was written down, of this kind.

    Errors: ``storage.Damaged`` with the file and the path in it.
    """
    try:
        return checked(serialization.from_json(parse_json(path.read_bytes(), str(path))), kind, "$")
    except ValueError as error:
        text = str(error)
        raise storage.Damaged(text if text.startswith(str(path)) else f"{path}: {text}") from None
