"""Fuzz every reader of foreign bytes: targets.py defines the readers, __main__.py what counts as a failure.

TUTELAGE_FUZZ sets the seconds for each; the default is 4, and 600 in ``make torture``. If CI is set it is 12, or 30
for the newest targets: five minutes of one core. The random seed is fixed, except in ``make torture``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Tried, limit

TARGETS = {
    "archive": (24, 26, 27),
    "zips": (24, 26, 27),
    "tars": (24, 26, 27),
    "pickles": (28,),
    "npz": (27, 28),
    "idx": (27, 29),
    "official_tables": (27,),
    "safetensors": (29,),
    "state_dicts": (28, 29),
    "json_values": (30,),
    "toml": (30,),
    "stored": (28, 29, 30),
    "blocks": (29,),
    "images": (27,),
    "tensors": (29,),
    "records": (30,),
}
TORTURE = bool(os.environ.get("TUTELAGE_TORTURE"))
NEW: tuple[str, ...] = ()
"""The targets that are younger than the last page of evidence."""


def seconds_of(target: str) -> int:
    """How long to fuzz a target."""
    if requested := os.environ.get("TUTELAGE_FUZZ"):
        return int(requested)
    if TORTURE:
        return 600
    return (30 if target in NEW else 12) if os.environ.get("CI") else 4


pytestmark = [
    pytest.mark.timeout(max(map(seconds_of, TARGETS)) + 150),
    pytest.mark.skipif(
        importlib.util.find_spec("atheris") is None,
        reason="atheris has wheels for Linux on x86-64 and Python 3.11 to 3.13 alone",
    ),
]


class Fuzzer:
    """A process that has imported and instrumented the package, and forks for each target."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.fuzz"],
            cwd=Path(__file__).parents[3],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, **request: object) -> int:
        """Fuzz a target; returns the exit code."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # with a fork that a time limit has left behind
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture(scope="module")
def fuzzer() -> Iterator[Fuzzer]:
    with contextlib.closing(Fuzzer()) as process:
        yield process


@pytest.mark.parametrize(
    "target", [pytest.param(name, marks=pytest.mark.fault(*rows), id=name) for name, rows in TARGETS.items()]
)
def test_a_reader_accepts_any_bytes_or_raises_value_error(
    target: str, fuzzer: Fuzzer, tmp_path: Path, tried: Tried
) -> None:
    seconds, seed = seconds_of(target), time.time_ns() % 2**31 if TORTURE else 1
    folder, log, count = tmp_path / "inputs", tmp_path / "log.txt", 0
    folder.mkdir()
    while count <= 20:  # once, unless the machine is very slow
        code = fuzzer.run(
            target=target,
            seconds=seconds,
            seed=seed + count,
            folder=str(folder),
            patience=round(limit(120)),
            log=str(log),
        )
        output = log.read_text(errors="replace")
        inputs = re.search(r"number_of_executed_units: (\d+)", output)
        inputs_left = [path.read_bytes() for path in folder.iterdir() if path.is_file()]
        assert code == 0, f"seed {seed + count}: {inputs_left}\n{output[-4000:]}"
        assert inputs is not None
        count += int(inputs[1])
    tried(count, f"inputs in {seconds} s, each read or refused with ValueError, within 10 s and 1 GiB")
