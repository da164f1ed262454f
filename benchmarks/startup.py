"""P16: how long the command takes to its first step and to its help, in processes of their own.

The floor is ``import torch`` and building the network. The command's time ends with the first optimizer step:
imports, reading the request, loading the digits, rehearsing every generation on a batch, and that step.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.measure import Ratio, foreign_load, interleaved, timed

ROUNDS = 9
FLOOR = """
import os
import torch
from tutelage.models.cifar_resnet import resnet8
resnet8(10, 1)
os._exit(0)  # as below: neither side takes its libraries down again
"""
FIRST_STEP = """
import os
import tutelage.cli.app
restored = tutelage.cli.app.signals_restored
def late():  # the command has imported torch by now, in its own way
    from tutelage.training.sgd import Sgd
    step = Sgd.step
    def first(self, *given, **named):
        step(self, *given, **named)
        os._exit(0)
    Sgd.step = first
    return restored()
tutelage.cli.app.signals_restored = late
tutelage.cli.command(["run", "baseline", "--epochs", "2", "--runs", RUNS])
os._exit(1)
"""


def _python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def _help() -> None:
    subprocess.run([sys.executable, "-m", "tutelage", "--help"], check=True, capture_output=True)


def runs() -> Iterator[Ratio]:
    """The ratio to the floor, and the seconds of ``--help``."""

    def first_step() -> None:
        with tempfile.TemporaryDirectory() as folder:
            _python(f"RUNS = {folder!r}\n{FIRST_STEP}")

    with foreign_load() as busy:
        pairs = interleaved(first_step, lambda: _python(FLOOR), rounds=ROUNDS)
        helps = [timed(_help) for _ in range(ROUNDS)]
    yield Ratio(
        name="P16 start of `tutelage run` to its first step / import torch and build the network, ResNet-8, digits",
        rounds=[ours / floor for ours, floor in pairs],
        goal="<= 1.3",
        busy=busy[0],
        notes={"to the first step": f"{sorted(ours for ours, _ in pairs)[ROUNDS // 2]:.2f} s"},
    )
    yield Ratio(name="`tutelage --help`, seconds", rounds=helps, goal="<= 0.4", busy=busy[0])
