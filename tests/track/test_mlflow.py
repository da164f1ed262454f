"""MLflow keeps a run for each curve, whatever happened in between; with the real package where it is installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.track import stand_ins
from tests.track.conftest import STUDY, event, models
from tutelage.study import Event
from tutelage.track import tracked
from tutelage.track.curves import write_curves
from tutelage.track.mlflow import open_curve

pytestmark = pytest.mark.filterwarnings("ignore")  # of the real one


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
    there = client(runs)
    found = there.search_runs([there.get_experiment_by_name(STUDY.name).experiment_id])
    return {run.info.run_name: run for run in found}


def history(runs: Path, run: Any, key: str = "loss") -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in client(runs).get_metric_history(run.info.run_id, key))


def tell(events: Iterable[Event], runs: Path) -> None:
    write_curves(events, STUDY, runs, open_curve)


def test_runs_are_those_of_the_models(trained: tuple[Path, list[Event]], tmp_path: Path) -> None:
    runs, events = trained
    said: list[str] = []
    assert list(tracked(iter(events), STUDY, ["mlflow"], tmp_path, said.append)) == events
    assert said == [f"MLflow: mlflow ui --backend-store-uri sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}"]
    found = stored(tmp_path)
    assert sorted(found) == [
        "baseline, baseline, seed 0",
        "born_again, born again 1, seed 0",
        "born_again, first, seed 0",
    ]
    run, model = found["born_again, born again 1, seed 0"], models(STUDY, 1, runs)[1]
    told = model.metrics()
    for name in ("loss", "lr", "accuracy", "loss/teacher", "share/teacher", "holdout/top1", "test/top1"):
        assert history(tmp_path, run, name) == [(line["epoch"], pytest.approx(line[name])) for line in told]
    assert history(tmp_path, run, "final/test/top1") == [(3, model.evaluation()["test"]["top1"])]
    assert run.info.status == "FINISHED"
    assert run.data.tags["tutelage.address"] == model.address
    assert run.data.params["schedule.epochs"] == "3"
    assert run.data.params["minimises"] == "KL(teacher ‖ student)"


def test_a_killed_run_continues_its_curve(tmp_path: Path) -> None:
    tell([event(last=2), event(first=3, last=5)], tmp_path)
    (run,) = stored(tmp_path).values()
    assert run.info.status == "KILLED"
    tell([event(first=1, last=3), event(first=4, last=4), event("finished", first=5, last=700)], tmp_path)
    (run,) = stored(tmp_path).values()
    assert run.info.status == "FINISHED"
    assert history(tmp_path, run) == [(epoch, pytest.approx(10 / epoch)) for epoch in range(1, 701)]


def test_a_curve_that_is_whole_is_left_alone(tmp_path: Path) -> None:
    tell([event("kept", last=4)], tmp_path)
    tell([event("kept", last=6)], tmp_path)
    (run,) = stored(tmp_path).values()
    assert len(history(tmp_path, run)) == 4
    tell([replace(event("kept", last=6), address="another model")], tmp_path)
    there = client(tmp_path)
    assert len(there.search_runs([there.get_experiment_by_name(STUDY.name).experiment_id])) == 2


def test_names_that_mlflow_would_not_take(tmp_path: Path) -> None:
    strange = replace(event("kept"), lines=({"epoch": 1, "loss": 1.0, "loss/KL(a ‖ b)": 2.0},))
    tell([strange], tmp_path)
    (run,) = stored(tmp_path).values()
    assert run.data.metrics["loss/KL_a _ b_"] == 2.0
