"""MLflow has one run per curve, also after interruptions; tested with the real package where it is installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.track import stand_ins
from tests.track.conftest import STUDY, event, models, other_model
from tutelage.study import Event
from tutelage.track import dispatch_events
from tutelage.track.curves import write_curves
from tutelage.track.mlflow import open_run

pytestmark = pytest.mark.filterwarnings("ignore")  # the real package warns


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    if importlib.util.find_spec("mlflow") is None:
        module = stand_ins.mlflow()
        monkeypatch.setitem(sys.modules, "mlflow", module)
        monkeypatch.setitem(sys.modules, "mlflow.entities", module.entities)


def client(runs: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{runs / 'mlflow' / 'mlflow.db'}")


def stored(runs: Path) -> dict[str, Any]:
    """The runs of the study by name."""
    reader = client(runs)
    experiment = reader.get_experiment_by_name(STUDY.name)
    return {run.info.run_name: run for run in reader.search_runs([experiment.experiment_id])}


def history(runs: Path, run: Any, key: str = "loss") -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in client(runs).get_metric_history(run.info.run_id, key))


def write(events: Iterable[Event], runs: Path) -> None:
    write_curves(events, STUDY, runs, open_run)


def test_runs_are_those_of_the_models(trained: tuple[Path, list[Event]], tmp_path: Path) -> None:
    runs, events = trained
    log: list[str] = []
    assert list(dispatch_events(iter(events), STUDY, ["mlflow"], tmp_path, log.append)) == events
    assert log == [f"MLflow: mlflow ui --backend-store-uri sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}"]
    recorded = stored(tmp_path)
    assert sorted(recorded) == [
        "baseline, baseline, seed 0",
        "born_again, born again 1, seed 0",
        "born_again, first, seed 0",
    ]
    run, model = recorded["born_again, born again 1, seed 0"], models(STUDY, 1, runs)[1]
    metrics = model.metrics()
    for name in ("loss", "lr", "accuracy", "loss/teacher", "share/teacher", "holdout/top1", "test/top1"):
        assert history(tmp_path, run, name) == [(line["epoch"], pytest.approx(line[name])) for line in metrics]
    assert history(tmp_path, run, "final/test/top1") == [(3, model.evaluation()["test"].top1)]
    assert run.info.status == "FINISHED"
    assert run.data.tags["tutelage.address"] == model.address
    assert run.data.params["schedule.epochs"] == "3"
    assert run.data.params["minimises"] == "KL(teacher ‖ student)"


def test_the_curve_of_a_killed_run_continues(tmp_path: Path) -> None:
    write([event(last=2), event(first=3, last=5)], tmp_path)
    (run,) = stored(tmp_path).values()
    assert run.info.status == "KILLED"
    write([event(first=1, last=3), event(first=4, last=4), event("finished", first=5, last=700)], tmp_path)
    (run,) = stored(tmp_path).values()
    assert run.info.status == "FINISHED"
    assert history(tmp_path, run) == [(epoch, pytest.approx(10 / epoch)) for epoch in range(1, 701)]


def test_a_complete_curve_stays_unchanged(tmp_path: Path) -> None:
    write([event("stored", last=4)], tmp_path)
    write([event("stored", last=6)], tmp_path)
    (run,) = stored(tmp_path).values()
    assert len(history(tmp_path, run)) == 4
    write([other_model(event("stored", last=6))], tmp_path)
    reader = client(tmp_path)
    experiment = reader.get_experiment_by_name(STUDY.name)
    assert len(reader.search_runs([experiment.experiment_id])) == 2


def test_names_that_mlflow_refuses(tmp_path: Path) -> None:
    strange = replace(event("stored"), epochs=({"epoch": 1, "loss": 1.0, "loss/KL(a ‖ b)": 2.0},))
    write([strange], tmp_path)
    (run,) = stored(tmp_path).values()
    assert run.data.metrics["loss/KL_a _ b_"] == 2.0
