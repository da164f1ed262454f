"""The command stopped by a signal, and a second one beside it; tests/faults has what else can come."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Command
from tests.faults.commands import BOUND, ended, until

ENDLESS = ("run", "baseline", "--epochs", "100000")
"""It is not done before a test is, however fast the processor."""


@pytest.mark.fault(12)
def test_sigterm_stops_at_once_with_75_and_the_same_command_continues(
    tutelage: Command, environment: dict[str, str], tmp_path: Path
) -> None:
    words = (*ENDLESS, "--seeds", "0", "1", "--processes", "2")
    often = {**environment, "TUTELAGE_CHECKPOINT_SECONDS": "0.2"}
    with subprocess.Popen([*COMMAND, *words], env=often, stderr=subprocess.PIPE, text=True) as process:
        models = tmp_path / "runs" / "models"
        until(lambda: len({path.parents[2] for path in models.glob("*/checkpoints/*/manifest.json")}) == 2)
        said, seconds = ended(process, process.terminate)
    assert process.returncode == 75, said
    assert seconds < BOUND
    assert "the same command continues" in said
    assert said.count("stopped: baseline stopped at step") == 2
    second = tutelage("show", next((tmp_path / "runs" / "studies").iterdir()).name)
    assert "0 of 2" in second.stdout


@pytest.mark.fault(14)
def test_two_commands_on_one_run(tutelage: Command, environment: dict[str, str], tmp_path: Path) -> None:
    words = (*ENDLESS, "--threads", "1")
    with subprocess.Popen([*COMMAND, *words], env=environment, stderr=subprocess.DEVNULL) as first:
        until(lambda: list((tmp_path / "runs" / "models").glob("*/.lock")))
        second = tutelage(*words)
        assert second.returncode == 1
        assert f"is in use by process {first.pid} on " in second.stderr
        first.kill()
