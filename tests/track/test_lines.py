"""What a study's events tell of the epochs: each once, and all of them again when a training continues."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tests.track.conftest import MACHINE, STUDY, models
from tutelage.lineage import Stopped
from tutelage.recipes import call
from tutelage.study import Event, Study, run


def epochs(events: list[Event]) -> list[float]:
    return [line["epoch"] for event in events for line in event.lines]


def test_a_training_that_continues_tells_its_epochs_again(tmp_path: Path) -> None:
    study = Study(lineages=(call("baseline", epochs=5, train_size=20),))
    told: list[Event] = []
    events = run(study, runs=tmp_path, machine=MACHINE, should_stop=lambda: epochs(told)[-1:] == [3])
    with pytest.raises(Stopped):
        told.extend(events)
    assert epochs(told) == [1, 2, 3]
    finished = list(run(study, runs=tmp_path, machine=MACHINE))
    assert epochs(finished) == [1, 2, 3, 4, 5]
    assert epochs(finished[:1]) == [1, 2, 3, 4]  # the first tells all that was saved, and its own
    (kept,) = run(study, runs=tmp_path, machine=MACHINE)
    (model,) = models(study, 0, tmp_path)
    assert list(kept.lines) == model.metrics() == [line for event in finished for line in event.lines]


def test_events_cross_between_processes(trained: tuple[Path, list[Event]]) -> None:
    runs, events = trained
    assert pickle.loads(pickle.dumps(events)) == events
    finished = events[-1]
    (_, second) = models(STUDY, 1, runs)
    assert finished.address == second.address
    assert finished.top1 == finished.measures["test/top1"] == second.evaluation()["test"]["top1"]
    assert {"train/nll", "holdout/top1", "test/ece"} <= set(finished.measures)
    assert all(isinstance(value, float) for value in finished.measures.values())
