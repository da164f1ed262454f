"""From a study's events to curves, one for each generation of an arm at a seed; what a tracker does for one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tutelage.serialization import digest, to_json, type_key
from tutelage.study import Event, Study

Line = Mapping[str, float]
Plain = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """Whose curve it is: a generation of an arm at a seed, the address of its model, and all that it is made with."""

    study: str
    arm: str
    seed: int
    place: int
    generation: str
    address: str
    settings: Mapping[str, Plain]

    @property
    def id(self) -> str:
        """A name that no other curve has, and that this one has again when its training continues."""
        return digest([self.study, self.arm, self.seed, self.place, self.address])[:16]


class TrackerRun(Protocol):
    """A curve in a tracker. BatchLoader come in order, when a training continues from the first one on again."""

    def epochs(self, lines: Sequence[Line]) -> None:
        """Add epochs, each with its number as ``epoch``; those that are there already stay as they are."""

    def finish(self, epoch: int, measures: Mapping[str, float]) -> None:
        """Add the finished model's measures, and close: the curve is whole."""

    def leave(self) -> None:
        """Close a curve that is not whole; its training may continue one day."""


Open = Callable[[RunInfo, Path], TrackerRun | None]
"""Opens the curve of a title in a folder of runs; None where the tracker has it whole."""


def write_curves(events: Iterable[Event], study: Study, runs: Path, open_curve: Open) -> None:
    """Tell a tracker all that a study's events tell; returns when they end."""
    curves: dict[tuple[int, str, int], TrackerRun | None] = {}
    last: dict[tuple[int, str, int], int] = {}
    try:
        for event in events:
            if event.phase == "failed":
                _leave(curves, [key for key in curves if key[:2] == (event.seed, event.lineage or key[1])])
            if event.phase not in ("kept", "training", "measuring", "finished"):
                continue
            key = event.seed, event.lineage, event.place
            if key not in curves:
                curves[key] = open_curve(title(event, study), runs)
            curve = curves[key]
            if curve is None:
                continue
            if event.lines:
                curve.epochs(event.lines)
                last[key] = int(event.lines[-1]["epoch"])
            if event.phase in ("kept", "finished"):
                curve.finish(last.get(key, 0), event.measures)
                curves[key] = None
    finally:
        _leave(curves, list(curves))


def _leave(curves: dict[tuple[int, str, int], TrackerRun | None], keys: Sequence[tuple[int, str, int]]) -> None:
    for key in keys:
        if (curve := curves.pop(key)) is not None:
            curve.leave()


def title(event: Event, study: Study) -> RunInfo:
    """The title of the curve that an event belongs to."""
    lineage = next(lineage for lineage in study.lineages if lineage.name == event.lineage)
    generation = lineage.generations[event.place]
    tree = {"data": to_json(lineage.data), "views": to_json(lineage.views), **to_json(generation)}
    return RunInfo(
        study=study.name,
        arm=event.lineage,
        seed=event.seed,
        place=event.place,
        generation=event.generation,
        address=event.address,
        settings={"minimises": str(generation.objective), **flat(tree)},
    )


def flat(tree: Mapping[str, Any]) -> dict[str, Plain]:
    """A configuration's leaves by their path, without the kinds of its values.

    >>> flat({"is": "training:Schedule", "epochs": 5, "decay": {"is": "training:Milestones", "at": [0.5, 0.75]}})
    {'epochs': 5, 'decay': 'Milestones', 'decay.at.0': 0.5, 'decay.at.1': 0.75}
    """
    found: dict[str, Plain] = {}

    def walk(path: str, value: Any) -> None:
        match value:
            case Mapping():
                if path and type_key in value:
                    found[path] = str(value[type_key]).rpartition(":")[2]
                for name, item in value.items():
                    if name != type_key:
                        walk(f"{path}.{name}" if path else name, item)
            case list():
                for place, item in enumerate(value):
                    walk(f"{path}.{place}", item)
            case _:
                found[path] = value

    walk("", tree)
    return found


def slug(text: str) -> str:
    """A name as one part of a path; one that has to change for that gets a mark of its own.

    >>> slug("label_smoothing"), slug("../etc")
    ('label_smoothing', 'etc-7881')
    """
    cleaned = re.sub(r"[^\w .,=+()-]+", "-", text)[:60].strip("-. ")
    return cleaned if cleaned == text != "" else "-".join(filter(None, (cleaned, digest(text)[:4])))
