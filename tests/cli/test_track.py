"""``--track`` as a user meets it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Command, InProcess

QUICK = ("--epochs", "2", "--threads", "1", "--train-size", "40")


@pytest.mark.parametrize("verb", [("run", "baseline"), ("study", "--arm", "baseline")])
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("tensorbord",), "unknown tracker 'tensorbord': did you mean tensorboard?"),
        (("none", "tensorboard"), "tracker none cannot be combined with tensorboard"),
        (("wandb",), "tracker wandb is not installed: pip install 'tutelage[wandb]'"),
    ],
)
def test_a_mistake_is_one_line_before_any_training(
    in_process: InProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: tuple[str, ...],
    names: tuple[str, ...],
    message: str,
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "wandb" else find(name))
    code, out, error = in_process(*verb, *QUICK, "--track", *names)
    assert (code, out) == (2, "")
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_tensorboard_is_told_where_it_is_installed(tutelage: Command, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    done = tutelage("run", "baseline", "--seeds", "0", "1", "--processes", "2", *QUICK)  # in two processes
    assert done.returncode == 0, done.stderr
    (study,) = (tmp_path / "runs" / "tensorboard").iterdir()
    assert f"curves: tensorboard --logdir {study}\n" in done.stderr
    assert "warning" not in done.stderr
    shown = []
    for seed in (0, 1):
        folder = study / "baseline" / f"seed-{seed}" / "0-baseline"
        curve = accumulator.EventAccumulator(str(folder)).Reload()
        shown.append([(point.step, pytest.approx(point.value)) for point in curve.Scalars("loss")])
    kept = [
        [(line["epoch"], line["loss"]) for line in map(json.loads, path.read_text().splitlines())]
        for path in (tmp_path / "runs" / "models").glob("*/metrics.jsonl")
    ]
    assert sorted(kept) in (shown, shown[::-1])


def test_help_imports_no_tracker() -> None:
    code = (
        "import sys; from tutelage.cli import command; command(['--help']); "
        "found = {name.partition('.')[0] for name in sys.modules} & {'tensorboard', 'mlflow', 'wandb'}; "
        "print(found, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"
    assert "study" in done.stdout
