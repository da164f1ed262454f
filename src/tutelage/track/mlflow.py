"""MLflow: an experiment a study, a run a curve; in ``RUNS/mlflow/mlflow.db``, or where MLFLOW_TRACKING_URI says."""

from __future__ import annotations

import logging
import os
import re
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.track.curves import Line, RunInfo

if TYPE_CHECKING:
    from mlflow import MlflowClient

_ID = "tutelage.curve"
_METRICS, _PARAMS = 1000, 100  # the most that a request may hold


def look(study: str, runs: Path) -> str:
    """How to look at it."""
    if "MLFLOW_TRACKING_URI" in os.environ:
        return f"MLflow: experiment {study} at MLFLOW_TRACKING_URI"
    return f"MLflow: mlflow ui --backend-store-uri {shlex.quote(_store(runs))}"


def _store(runs: Path) -> str:
    return f"sqlite:///{(runs / 'mlflow' / 'mlflow.db').absolute()}"


def open_curve(title: RunInfo, runs: Path) -> _Curve | None:
    """Open a curve; None where it is whole."""
    client = _client(runs)
    experiment = _experiment(client, title.study, runs)
    found = client.search_runs([experiment], f"tags.`{_ID}` = '{title.id}'")
    if not found:
        return _Curve(client, _begin(client, experiment, title))
    run = found[0]
    if run.info.status == "FINISHED":
        return None
    client.update_run(run.info.run_id, status="RUNNING")
    return _Curve(client, run.info.run_id)


def _client(runs: Path) -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # else importing it reports to its makers
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if "MLFLOW_TRACKING_URI" in os.environ:
        return MlflowClient()
    (runs / "mlflow").mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=_store(runs))


def _experiment(client: MlflowClient, study: str, runs: Path) -> str:
    found = client.get_experiment_by_name(study)
    if found is not None:
        return str(found.experiment_id)
    local = "MLFLOW_TRACKING_URI" not in os.environ
    where = (runs / "mlflow" / "artifacts").absolute().as_uri() if local else None
    return str(client.create_experiment(study, artifact_location=where))


def _begin(client: MlflowClient, experiment: str, title: RunInfo) -> str:
    from mlflow.entities import Param

    tags: dict[str, Any] = {
        _ID: title.id,
        "tutelage.address": title.address,
        "tutelage.arm": title.arm,
        "tutelage.generation": title.generation,
        "tutelage.seed": str(title.seed),
    }
    name = f"{title.arm}, {title.generation}, seed {title.seed}"
    run = client.create_run(experiment, run_name=name, tags=tags)
    settings = [Param(_key(path), str(value)) for path, value in title.settings.items()]
    for first in range(0, len(settings), _PARAMS):
        client.log_batch(run.info.run_id, params=settings[first : first + _PARAMS])
    return str(run.info.run_id)


def _key(name: str) -> str:
    """A name in the letters that MLflow takes."""
    return re.sub(r"[^\w\-. /]", "_", name)


class _Curve:
    """Adds to a run the epochs that it lacks."""

    def __init__(self, client: MlflowClient, run: str) -> None:
        self.client, self.run = client, run
        self.there = {metric.step for metric in client.get_metric_history(run, "loss")}

    def epochs(self, lines: Sequence[Line]) -> None:
        lacking = [line for line in lines if int(line["epoch"]) not in self.there]
        self._log(
            (name, value, int(line["epoch"])) for line in lacking for name, value in line.items() if name != "epoch"
        )

    def finish(self, epoch: int, measures: Mapping[str, float]) -> None:
        self._log((f"final/{name}", value, epoch) for name, value in measures.items())
        self.client.set_terminated(self.run, status="FINISHED")

    def leave(self) -> None:
        self.client.set_terminated(self.run, status="KILLED")

    def _log(self, values: Iterable[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        metrics = [Metric(_key(name), value, now, epoch) for name, value, epoch in values]
        for first in range(0, len(metrics), _METRICS):
            self.client.log_batch(self.run, metrics=metrics[first : first + _METRICS])
