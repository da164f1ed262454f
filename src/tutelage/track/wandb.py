"""Weights & Biases: a group a study, a run a curve; below ``RUNS/wandb``, offline unless there is a key."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage import storage
from tutelage.track.curves import Line, RunInfo

_SECONDS = 20  # for a server that does not answer


def look(study: str, runs: Path) -> str:
    """How to look at it."""
    return f"W&B: group {study}, in {runs / 'wandb'} (sent only where there is a key)"


def open_curve(title: RunInfo, runs: Path) -> _Curve | None:
    """Open a curve; None where it is whole, or W&B is switched off."""
    if os.environ.get("WANDB_MODE") == "disabled":
        return None
    whole = runs / "wandb" / "whole" / title.id
    return None if whole.exists() else _Curve(_begin(title, runs), whole)


def _begin(title: RunInfo, runs: Path) -> Any:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else its own faults are reported to its makers
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
        init_timeout=_SECONDS,
        finish_timeout=_SECONDS,
    )
    wandb.setup(settings)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "tutelage"),
        group=title.study,
        job_type=title.arm,
        name=f"{title.arm}, {title.generation}, seed {title.seed}",
        id=title.id,
        config={**title.settings, "address": title.address, "arm": title.arm, "seed": title.seed},
        dir=str(runs),
        mode=_mode(wandb),
        resume="allow",
        reinit="create_new",
        settings=settings,
    )
    here = Path(run.dir).parent
    for old in (runs / "wandb").glob(f"offline-run-*-{title.id}"):
        if old.resolve() != here.resolve():  # offline, a run that continues is told from its first epoch on again
            storage.remove(old)
    return run


def _mode(wandb: Any) -> Any:
    """Offline where there is no key, so that none is ever asked for; else what the user has set."""
    if os.environ.get("WANDB_MODE") in ("offline", "dryrun"):  # the second is its former name
        return "offline"
    return None if wandb.login(prompt=False, verify=False) else "offline"


class _Curve:
    """Adds to a run the epochs that it lacks; the finished model's measures go to its summary."""

    def __init__(self, run: Any, whole: Path) -> None:
        self.run, self.whole = run, whole

    def epochs(self, lines: Sequence[Line]) -> None:
        for line in lines:
            values, epoch = {name: value for name, value in line.items() if name != "epoch"}, int(line["epoch"])
            if epoch >= self.run.step:  # the next that a server takes: of a run that continues, behind its last
                self.run.log(values, step=epoch)

    def finish(self, epoch: int, measures: Mapping[str, float]) -> None:
        self.run.summary.update({f"final/{name}": value for name, value in measures.items()})
        self.run.finish()
        storage.write_bytes(self.whole, b"")

    def leave(self) -> None:
        self.run.finish(exit_code=1)
