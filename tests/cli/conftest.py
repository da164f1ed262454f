"""Run the command as a user would, in a process of its own: forked where only the wait for imports would differ."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.warm import Warm
from tutelage.cli import command

Command = Callable[..., subprocess.CompletedProcess[str]]
InProcess = Callable[..., tuple[int, str, str]]

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
def tutelage(environment: dict[str, str], tmp_path: Path, warm: Warm) -> Command:
    def run(
        *words: str, folder: Path = tmp_path, closed: Sequence[int] = (), memory: float | None = None, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        return warm.complete(words, environment | extra, folder, closed, memory)

    return run


@pytest.fixture
def in_process(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[InProcess]:
    """The same command without a process of its own, for the many requests that end before any training."""
    for name in ("TUTELAGE_RUNS", "TUTELAGE_DATA", "COLUMNS"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def run(*words: str) -> tuple[int, str, str]:
        code = command(list(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)
