"""A study that trains in a second, and its events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tutelage.artifacts.model import Model
from tutelage.lineage import Finished, Measuring, ModelRef, TrainingProgress, TrainOptions, models_of
from tutelage.recipes import call
from tutelage.study import Event, Execution, Failed, Study, load_study, run

EXECUTION = Execution(device="cpu", precision="fp32", threads=1)
ARGUMENTS = {"train_size": 30, "holdout": 10, "epochs": 3}

STUDY = Study(lineages=(call("baseline", **ARGUMENTS), call("born_again", generations=1, **ARGUMENTS)))
OPTIONS = TrainOptions(meter=True, watch_test=True)


def models(study: Study, arm: int, runs: Path) -> tuple[Model, ...]:
    """The models of an arm at the study's first seed."""
    fingerprint = load_study(study.name, runs).fingerprints[arm]
    return models_of(study.lineages[arm], study.seeds[0], fingerprint, "fp32", runs)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """A runs folder with the trained study, and the events of its training."""
    runs = tmp_path_factory.mktemp("trained")
    return runs, list(run(STUDY, runs=runs, execution=EXECUTION, options=OPTIONS))


def metrics(first: int, last: int) -> tuple[dict[str, float], ...]:
    """Metrics of epochs, different for each epoch."""
    return tuple({"epoch": epoch, "loss": 10.0 / epoch, "lr": 0.1} for epoch in range(first, last + 1))


def event(kind: str = "training", first: int = 1, last: int = 0, arm: str = "baseline", seed: int = 0) -> Event:
    """An event that reports some epochs; ``finished`` and ``stored`` (by an earlier run) have a measure too."""
    if kind == "failed":
        return Failed(seed=seed, arm=arm, message="the loss is nan")
    model = ModelRef(
        arm=arm,
        seed=seed,
        place=0,
        generations=2 if arm == "born_again" else 1,
        generation="first" if arm == "born_again" else arm,
        address=f"address of {arm} {seed}",
    )
    epochs = metrics(first, last)
    if kind in ("finished", "stored"):
        seconds = 1.0 if kind == "finished" else None
        return Finished(model=model, epochs=epochs, measures={"test/top1": 0.5}, at_chance=False, seconds=seconds)
    if kind == "measuring":
        return Measuring(model=model, epochs=epochs)
    return TrainingProgress(model=model, epochs=epochs, step=last, steps=3, images=0, epoch_ended=bool(epochs))


def other_model(event: Event) -> Event:
    """The same event of another model."""
    assert isinstance(event, Finished)
    return replace(event, model=replace(event.model, address="another model"))
