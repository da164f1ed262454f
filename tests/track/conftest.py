"""Studies that train in a blink, and their events."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.artifacts.model import Model
from tutelage.lineage import models_of
from tutelage.recipes import call
from tutelage.study import Event, Execution, Study, load_study, run

MACHINE = Execution(device="cpu", precision="fp32", threads=1)
SETTING = {"train_size": 30, "holdout": 10, "epochs": 3}

STUDY = Study(
    lineages=(call("baseline", **SETTING), call("born_again", generations=1, **SETTING)), meter=True, watch_test=True
)


def models(study: Study, arm: int, runs: Path) -> tuple[Model, ...]:
    """The models of an arm at the study's first seed."""
    fingerprint = load_study(study.name, runs).fingerprints[arm]
    return models_of(study.lineages[arm], study.seeds[0], fingerprint, "fp32", runs)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """A folder of runs with the study in it, and the events it was trained with."""
    runs = tmp_path_factory.mktemp("trained")
    return runs, list(run(STUDY, runs=runs, machine=MACHINE))


def lines(first: int, last: int) -> tuple[dict[str, float], ...]:
    """BatchLoader' measures that can be told apart."""
    return tuple({"epoch": epoch, "loss": 10.0 / epoch, "lr": 0.1} for epoch in range(first, last + 1))


def event(phase: str = "training", first: int = 1, last: int = 0, arm: str = "baseline", seed: int = 0) -> Event:
    """An event that tells some epochs; a finished one with a measure."""
    return Event(
        seed=seed,
        phase=phase,
        lineage=arm,
        generation="first" if arm == "born_again" else arm,
        generations=2 if arm == "born_again" else 1,
        address=f"address of {arm} {seed}",
        lines=lines(first, last),
        measures={"test/top1": 0.5} if phase in ("kept", "finished") else {},
    )
