"""The epochs in a study's events: each once, and all of them again when a training run is resumed."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tests.track.conftest import EXECUTION, STUDY, models
from tutelage.lineage import Stopped
from tutelage.recipes import call
from tutelage.study import Event, Study, run


def epochs(events: list[Event]) -> list[float]:
    return [metrics["epoch"] for event in events for metrics in event.epochs]


def test_a_resumed_training_run_reports_its_epochs_again(tmp_path: Path) -> None:
    study = Study(lineages=(call("baseline", epochs=5, train_size=20),))
    received: list[Event] = []
    events = run(study, runs=tmp_path, execution=EXECUTION, should_stop=lambda: epochs(received)[-1:] == [3])
    with pytest.raises(Stopped):
        received.extend(events)
    assert epochs(received) == [1, 2, 3]
    finished = list(run(study, runs=tmp_path, execution=EXECUTION))
    assert epochs(finished) == [1, 2, 3, 4, 5]
    assert epochs(finished[:1]) == [1, 2, 3, 4]  # the first event reports the saved epochs and its own
    (stored,) = run(study, runs=tmp_path, execution=EXECUTION)
    (model,) = models(study, 0, tmp_path)
    assert list(stored.epochs) == model.metrics() == [metrics for event in finished for metrics in event.epochs]


def test_events_cross_between_processes(trained: tuple[Path, list[Event]]) -> None:
    runs, events = trained
    assert pickle.loads(pickle.dumps(events)) == events
    finished = events[-1]
    (_, second) = models(STUDY, 1, runs)
    assert finished.model.address == second.address
    assert finished.measures["test/top1"] == second.evaluation()["test"].top1
    assert {"train/nll", "holdout/top1", "test/ece"} <= set(finished.measures)
    assert all(isinstance(value, float) for value in finished.measures.values())
