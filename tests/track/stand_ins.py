"""Small modules with the call signatures of mlflow and wandb, used where those are not installed.

Their data is read back in the same way, so that the same tests run with both.
"""

from __future__ import annotations

import json
import os
import time
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Metric:
    key: str
    value: float
    timestamp: int
    step: int


@dataclass
class Param:
    key: str
    value: str


@dataclass
class _Run:
    run_id: str
    name: str
    tags: dict[str, str]
    status: str = "RUNNING"
    params: dict[str, str] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)

    @property
    def info(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(run_id=self.run_id, status=self.status, run_name=self.name)

    @property
    def data(self) -> types.SimpleNamespace:
        last = {metric.key: metric.value for metric in self.metrics}
        return types.SimpleNamespace(params=self.params, metrics=last, tags=self.tags)


def mlflow() -> types.ModuleType:
    stores: dict[str, dict[str, list[_Run]]] = {}

    class MlflowClient:
        def __init__(self, tracking_uri: str | None = None) -> None:
            self.store = stores.setdefault(tracking_uri or os.environ["MLFLOW_TRACKING_URI"], {})

        def get_experiment_by_name(self, name: str) -> Any:
            return types.SimpleNamespace(experiment_id=name) if name in self.store else None

        def create_experiment(self, name: str, artifact_location: str | None = None) -> str:
            assert name not in self.store
            self.store[name] = []
            return name

        def search_runs(self, experiment_ids: list[str], filter_string: str = "") -> list[_Run]:
            runs = [run for experiment in experiment_ids for run in self.store[experiment]]
            if not filter_string:
                return runs
            tag, value = filter_string.removeprefix("tags.`").removesuffix("'").split("` = '")
            return [run for run in runs if run.tags.get(tag) == value]

        def create_run(self, experiment_id: str, run_name: str, tags: dict[str, str]) -> _Run:
            run = _Run(f"{experiment_id}:{len(self.store[experiment_id])}", run_name, tags)
            self.store[experiment_id].append(run)
            return run

        def _run(self, run_id: str) -> _Run:
            return next(run for runs in self.store.values() for run in runs if run.run_id == run_id)

        def log_batch(self, run_id: str, metrics: Sequence[Metric] = (), params: Sequence[Param] = ()) -> None:
            assert len(metrics) <= 1000
            assert len(params) <= 100
            run = self._run(run_id)
            run.metrics += metrics
            run.params |= {param.key: param.value for param in params}

        def get_metric_history(self, run_id: str, key: str) -> list[Metric]:
            return [metric for metric in self._run(run_id).metrics if metric.key == key]

        def update_run(self, run_id: str, status: str) -> None:
            self._run(run_id).status = status

        def set_terminated(self, run_id: str, status: str) -> None:
            self._run(run_id).status = status

    module = types.ModuleType("mlflow")
    module.MlflowClient = MlflowClient  # type: ignore[attr-defined]
    module.entities = types.ModuleType("mlflow.entities")  # type: ignore[attr-defined]
    module.entities.Metric, module.entities.Param = Metric, Param
    return module


def wandb() -> types.ModuleType:
    class Settings:
        def __init__(
            self,
            *,
            console: str,
            silent: bool,
            disable_git: bool,
            disable_code: bool,
            x_disable_meta: bool,
            x_disable_stats: bool,
            x_save_requirements: bool,
            init_timeout: float,
            finish_timeout: float,
        ) -> None: ...

    class Run:
        def __init__(self, folder: Path, record: dict[str, Any]) -> None:
            self.dir = str(folder / "files")
            self.record = record
            self.step = 0
            self.summary: dict[str, float] = {}

        def log(self, values: dict[str, float], step: int) -> None:
            assert step >= self.step
            self.step = step
            self.record["history"].append({"_step": step, **values})

        def finish(self, exit_code: int = 0) -> None:
            record = {**self.record, "summary": self.summary, "exit": exit_code}
            (Path(self.dir).parent / "record.json").write_text(json.dumps(record))

    def init(
        *,
        project: str,
        group: str,
        job_type: str,
        name: str,
        id: str,
        config: dict[str, Any],
        dir: str,
        mode: str | None,
        resume: str,
        reinit: str,
        settings: Settings,
    ) -> Run:
        assert mode == "offline"
        folder = Path(dir) / "wandb" / f"offline-run-{time.time_ns()}-{id}"
        (folder / "files").mkdir(parents=True)
        return Run(folder, {"name": name, "group": group, "project": project, "config": config, "history": []})

    module = types.ModuleType("wandb")
    module.Settings, module.init = Settings, init  # type: ignore[attr-defined]
    module.setup = lambda settings: None  # type: ignore[attr-defined]
    module.login = lambda *, prompt, verify: False  # type: ignore[attr-defined]
    return module
