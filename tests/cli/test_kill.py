"""Kill the command anywhere; the same command finishes, and its weights are those of an undisturbed run."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path

from tests.cli.conftest import COMMAND, Command

WORDS = ("run", "tolerant", "--generations", "1", "--epochs", "40", "--threads", "1")


def hashes(runs: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of all that a run computed, by model."""
    found = {}
    for manifest in (runs / "models").glob("*/manifest.json"):
        files = json.loads(manifest.read_bytes())["files"]
        names = ("weights.safetensors", "metrics.jsonl", "predictions.safetensors", "evaluation.json")
        found[manifest.parent.name] = {name: files[name]["sha256"] for name in names}
    return found


def test_kill_9_at_random_moments_and_at_durable_operations(
    tutelage: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    undisturbed = tutelage(*WORDS, TUTELAGE_RUNS=str(tmp_path / "undisturbed"))
    assert undisturbed.returncode == 0, undisturbed.stderr
    expected = hashes(tmp_path / "undisturbed")
    assert len(expected) == 2

    draw = random.Random(20)
    fast = {"TUTELAGE_CHECKPOINT_SECONDS": "0.05"}
    killed = 0
    for operation in (3, 9, 30, 61):  # inside the first save, between two, in later ones
        done = tutelage(*WORDS, TUTELAGE_FAULT=f"kill@{operation}", **fast)
        assert done.returncode == -signal.SIGKILL
        killed += 1
    for _ in range(3):
        with subprocess.Popen(
            [*COMMAND, *WORDS], env={**environment, **fast}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        ) as process:
            time.sleep(draw.uniform(1.5, 4.0))
            process.kill()
        killed += process.returncode == -signal.SIGKILL
    assert killed >= 4
    done = tutelage(*WORDS)
    assert done.returncode == 0, done.stderr
    assert hashes(tmp_path / "runs") == expected


def test_sigterm_stops_at_once_with_75_and_the_same_command_continues(
    tutelage: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    words = ("run", "baseline", "--epochs", "2000", "--seeds", "0", "1")
    with subprocess.Popen([*COMMAND, *words], env=environment, stderr=subprocess.PIPE, text=True) as process:
        models = tmp_path / "runs" / "models"
        deadline = time.monotonic() + 60
        while len(list(models.glob("*/.lock"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(2.0)
        asked = time.monotonic()
        process.terminate()
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 75, said
    assert time.monotonic() - asked < 10
    assert "the same command continues" in said
    kept = [int(path.name) for path in models.glob("*/checkpoints/*")]
    assert len(kept) == 2
    assert min(kept) > 0
    second = tutelage("show", next((tmp_path / "runs" / "studies").iterdir()).name)
    assert "0 of 2" in second.stdout


def test_two_commands_on_one_run(tutelage: Command, environment: dict[str, str], tmp_path: Path) -> None:
    words = ("run", "baseline", "--epochs", "1000", "--threads", "1")
    with subprocess.Popen([*COMMAND, *words], env=environment, stderr=subprocess.DEVNULL) as first:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "runs" / "models").glob("*/.lock")) and time.monotonic() < deadline:
            time.sleep(0.1)
        second = tutelage(*words)
        assert second.returncode == 1
        assert f"is in use by process {first.pid} on " in second.stderr
        first.kill()
