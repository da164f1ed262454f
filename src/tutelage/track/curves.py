"""Turn a study's events into runs of a tracker, one for each generation of an arm at a seed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tutelage.lineage import Finished, Measuring, ModelRef, TrainingProgress
from tutelage.lineage.events import EpochMetrics
from tutelage.serialization import digest, to_json, type_key
from tutelage.study import Event, Failed, Study

SettingValue = str | int | float | bool | None
_RunKey = tuple[int, str, int]
"""The seed, the arm and the place of a generation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What a run of a tracker shows: a generation of an arm at a seed, the address of its model, and its settings."""

    study: str
    arm: str
    seed: int
    place: int
    generation: str
    address: str
    settings: Mapping[str, SettingValue]

    @property
    def id(self) -> str:
        """A unique name of the run, the same again when its training is resumed."""
        return digest([self.study, self.arm, self.seed, self.place, self.address])[:16]


class TrackerRun(Protocol):
    """A run in a tracker. Epochs arrive in order; when training is resumed, they start again from the first one."""

    def log_epochs(self, epochs: Sequence[EpochMetrics]) -> None:
        """Add the metrics of epochs; those that the tracker has already stay unchanged."""

    def finish(self, epoch: int, measures: Mapping[str, float]) -> None:
        """Add the finished model's measures at its last epoch, and close the run as complete."""

    def close_incomplete(self) -> None:
        """Close a run whose training did not finish, and may be resumed later."""


OpenRun = Callable[[RunInfo, Path], TrackerRun | None]
"""Opens a run in a tracker that keeps its files in a runs folder; None where the tracker has the run complete."""


def write_curves(events: Iterable[Event], study: Study, runs: Path, open_run: OpenRun) -> None:
    """Write everything that a study's events report to one tracker; returns when the events end."""
    tracker_runs: dict[_RunKey, TrackerRun | None] = {}  # None: complete, nothing more is written
    last_epochs: dict[_RunKey, int] = {}
    try:
        for event in events:
            match event:
                case Failed():
                    # Without an arm, the whole seed failed.
                    failed = [key for key in tracker_runs if key[:2] == (event.seed, event.arm or key[1])]
                    _close_incomplete(tracker_runs, failed)
                case TrainingProgress() | Measuring() | Finished():
                    key = event.seed, event.arm, event.model.place
                    if key not in tracker_runs:
                        tracker_runs[key] = open_run(run_info(event.model, study), runs)
                    run = tracker_runs[key]
                    if run is None:
                        continue
                    if event.epochs:
                        run.log_epochs(event.epochs)
                        last_epochs[key] = int(event.epochs[-1]["epoch"])
                    if isinstance(event, Finished):
                        run.finish(last_epochs.get(key, 0), event.measures)
                        tracker_runs[key] = None
    finally:
        _close_incomplete(tracker_runs, list(tracker_runs))


def _close_incomplete(tracker_runs: dict[_RunKey, TrackerRun | None], keys: Sequence[_RunKey]) -> None:
    for key in keys:
        run = tracker_runs.pop(key)
        if run is not None:
            run.close_incomplete()


def run_info(model: ModelRef, study: Study) -> RunInfo:
    """What a tracker shows of the run of a model."""
    lineage = next(lineage for lineage in study.lineages if lineage.name == model.arm)
    generation = lineage.generations[model.place]
    config = {"data": to_json(lineage.data), "views": to_json(lineage.views), **to_json(generation)}
    return RunInfo(
        study=study.name,
        arm=model.arm,
        seed=model.seed,
        place=model.place,
        generation=model.generation,
        address=model.address,
        settings={"minimises": str(generation.objective), **flatten(config)},
    )


def flatten(config: Mapping[str, Any]) -> dict[str, SettingValue]:
    """The values of a nested configuration by their dotted paths; a nested object's path holds its type.

    >>> flatten({"is": "training:Schedule", "epochs": 5, "decay": {"is": "training:Milestones", "at": [0.5, 0.75]}})
    {'epochs': 5, 'decay': 'Milestones', 'decay.at.0': 0.5, 'decay.at.1': 0.75}
    """
    settings: dict[str, SettingValue] = {}

    def visit(path: str, value: Any) -> None:
        match value:
            case Mapping():
                if path and type_key in value:
                    settings[path] = str(value[type_key]).rpartition(":")[2]
                for name, item in value.items():
                    if name != type_key:
                        visit(f"{path}.{name}" if path else name, item)
            case list():
                for place, item in enumerate(value):
                    visit(f"{path}.{place}", item)
            case _:
                settings[path] = value

    visit("", config)
    return settings


def path_component(name: str) -> str:
    """A name as one component of a path; a name that has to change gets a part of its digest, and stays unique.

    >>> path_component("label_smoothing"), path_component("../etc")
    ('label_smoothing', 'etc-7881')
    """
    cleaned = re.sub(r"[^\w .,=+()-]+", "-", name)[:60].strip("-. ")
    if cleaned and cleaned == name:
        return cleaned
    return "-".join(filter(None, (cleaned, digest(name)[:4])))
