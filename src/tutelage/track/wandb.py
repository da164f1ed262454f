"""Weights & Biases: one group per study, one run per curve; in ``RUNS/wandb``, offline where there is no API key."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage import storage
from tutelage.lineage.events import EpochMetrics
from tutelage.track.curves import RunInfo

_TIMEOUT_SECONDS = 20  # for a server that does not reply


def instructions(study: str, runs: Path) -> str:
    """One line that says how to view the curves."""
    return f"W&B: group {study}, in {runs / 'wandb'} (sent only where there is an API key)"


def open_run(info: RunInfo, runs: Path) -> _Run | None:
    """Open a run; None where it is complete, or W&B is switched off."""
    if os.environ.get("WANDB_MODE") == "disabled":
        return None
    mark = runs / "wandb" / "whole" / info.id
    return None if mark.exists() else _Run(_init_run(info, runs), mark)


def _init_run(info: RunInfo, runs: Path) -> Any:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # W&B would report its own errors to its makers
    import wandb

    runs.mkdir(parents=True, exist_ok=True)
    settings = wandb.Settings(
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
        init_timeout=_TIMEOUT_SECONDS,
        finish_timeout=_TIMEOUT_SECONDS,
    )
    wandb.setup(settings)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "tutelage"),
        group=info.study,
        job_type=info.arm,
        name=f"{info.arm}, {info.generation}, seed {info.seed}",
        id=info.id,
        config={**info.settings, "address": info.address, "arm": info.arm, "seed": info.seed},
        dir=str(runs),
        mode=_mode(wandb),
        resume="allow",
        reinit="create_new",
        settings=settings,
    )
    folder = Path(run.dir).parent
    # Offline, a resumed run cannot be appended to: it gets all epochs again in a new folder, which replaces the old.
    for old in (runs / "wandb").glob(f"offline-run-*-{info.id}"):
        if old.resolve() != folder.resolve():
            storage.remove(old)
    return run


def _mode(wandb: Any) -> Any:
    """Offline where there is no API key, so that nobody is asked for one; otherwise None, the user's own setting."""
    if os.environ.get("WANDB_MODE") in ("offline", "dryrun"):  # dryrun is the former name of offline
        return "offline"
    return None if wandb.login(prompt=False, verify=False) else "offline"


class _Run:
    """A run in W&B; the finished model's measures go to its summary. ``mark`` is a file that says it is complete."""

    def __init__(self, run: Any, mark: Path) -> None:
        self.run = run
        self.mark = mark

    def log_epochs(self, epochs: Sequence[EpochMetrics]) -> None:
        for metrics in epochs:
            epoch = int(metrics["epoch"])
            # A server accepts ascending steps only; `step` is the next one that a resumed run lacks.
            if epoch >= self.run.step:
                self.run.log({name: value for name, value in metrics.items() if name != "epoch"}, step=epoch)

    def finish(self, epoch: int, measures: Mapping[str, float]) -> None:
        self.run.summary.update({f"final/{name}": value for name, value in measures.items()})
        self.run.finish()
        storage.write_bytes(self.mark, b"")

    def close_incomplete(self) -> None:
        self.run.finish(exit_code=1)
