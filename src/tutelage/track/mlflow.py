"""MLflow: one experiment per study, one run per curve.

The runs are in ``RUNS/mlflow/mlflow.db``, or on the server that MLFLOW_TRACKING_URI names.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.lineage.events import EpochMetrics
from tutelage.track.curves import RunInfo

if TYPE_CHECKING:
    from mlflow import MlflowClient

_ID_TAG = "tutelage.curve"
_MAX_METRICS = 1000  # the most that MLflow accepts in one request
_MAX_PARAMS = 100


def instructions(study: str, runs: Path) -> str:
    """One line that says how to view the curves."""
    if "MLFLOW_TRACKING_URI" in os.environ:
        return f"MLflow: experiment {study} at MLFLOW_TRACKING_URI"
    return f"MLflow: mlflow ui --backend-store-uri {shlex.quote(_database(runs))}"


def _database(runs: Path) -> str:
    return f"sqlite:///{(runs / 'mlflow' / 'mlflow.db').absolute()}"


def open_run(info: RunInfo, runs: Path) -> _Run | None:
    """Open a run, a new one or the one whose training is resumed; None where it is complete."""
    client = _client(runs)
    experiment_id = _experiment_id(client, info.study, runs)
    existing = client.search_runs([experiment_id], f"tags.`{_ID_TAG}` = '{info.id}'")
    if not existing:
        return _Run(client, _create_run(client, experiment_id, info))
    run = existing[0]
    if run.info.status == "FINISHED":
        return None
    client.update_run(run.info.run_id, status="RUNNING")
    return _Run(client, run.info.run_id)


def _client(runs: Path) -> MlflowClient:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # importing mlflow would report to its makers
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if "MLFLOW_TRACKING_URI" in os.environ:
        return MlflowClient()
    (runs / "mlflow").mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=_database(runs))


def _experiment_id(client: MlflowClient, study: str, runs: Path) -> str:
    experiment = client.get_experiment_by_name(study)
    if experiment is not None:
        return str(experiment.experiment_id)
    local = "MLFLOW_TRACKING_URI" not in os.environ
    artifacts = (runs / "mlflow" / "artifacts").absolute().as_uri() if local else None
    return str(client.create_experiment(study, artifact_location=artifacts))


def _create_run(client: MlflowClient, experiment_id: str, info: RunInfo) -> str:
    from mlflow.entities import Param

    tags: dict[str, Any] = {
        _ID_TAG: info.id,
        "tutelage.address": info.address,
        "tutelage.arm": info.arm,
        "tutelage.generation": info.generation,
        "tutelage.seed": str(info.seed),
    }
    name = f"{info.arm}, {info.generation}, seed {info.seed}"
    run = client.create_run(experiment_id, run_name=name, tags=tags)
    params = [Param(_valid_name(path), str(value)) for path, value in info.settings.items()]
    for start in range(0, len(params), _MAX_PARAMS):
        client.log_batch(run.info.run_id, params=params[start : start + _MAX_PARAMS])
    return str(run.info.run_id)


def _valid_name(name: str) -> str:
    """A name without the characters that MLflow refuses."""
    return re.sub(r"[^\w\-. /]", "_", name)


class _Run:
    """A run in MLflow; epochs that it has already are skipped."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client = client
        self.run_id = run_id
        self.logged_epochs = {metric.step for metric in client.get_metric_history(run_id, "loss")}

    def log_epochs(self, epochs: Sequence[EpochMetrics]) -> None:
        missing = [metrics for metrics in epochs if int(metrics["epoch"]) not in self.logged_epochs]
        self._log(
            (name, value, int(metrics["epoch"]))
            for metrics in missing
            for name, value in metrics.items()
            if name != "epoch"
        )

    def finish(self, epoch: int, measures: Mapping[str, float]) -> None:
        self._log((f"final/{name}", value, epoch) for name, value in measures.items())
        self.client.set_terminated(self.run_id, status="FINISHED")

    def close_incomplete(self) -> None:
        self.client.set_terminated(self.run_id, status="KILLED")

    def _log(self, values: Iterable[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        metrics = [Metric(_valid_name(name), value, now, epoch) for name, value, epoch in values]
        for start in range(0, len(metrics), _MAX_METRICS):
            self.client.log_batch(self.run_id, metrics=metrics[start : start + _MAX_METRICS])
