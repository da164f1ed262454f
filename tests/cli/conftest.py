"""Run the installed command as a user would: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

COMMAND = (sys.executable, "-m", "tutelage")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "TUTELAGE_RUNS": str(tmp_path / "runs"),
        "TUTELAGE_DATA": str(tmp_path / "data"),
        "COLUMNS": "160",
    }


@pytest.fixture
def tutelage(environment: dict[str, str], tmp_path: Path) -> Command:
    def run(*words: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *words],
            env={**environment, **extra},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )

    return run
