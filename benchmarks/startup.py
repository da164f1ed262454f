"""P16: how long the command takes to its first step and to its help, in processes of their own.

The lower bound is ``import torch`` and building the network. The command's time ends with the first optimizer step:
it includes the imports, parsing the request, loading the digits, the dry run of every generation, and that step.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.measure import Ratio, foreign_load, interleaved, timed

ROUNDS = 9
LOWER_BOUND = """
import os
import torch
from tutelage.models.cifar_resnet import resnet8
resnet8(10, 1)
os._exit(0)  # as below: neither side shuts its libraries down
"""
FIRST_STEP = """
import os
import tutelage.cli.signals
signals_restored = tutelage.cli.signals.signals_restored
def exit_after_first_step():  # called just before training, when the command has imported torch in its own order
    from tutelage.training.sgd import Sgd
    step = Sgd.step
    def first_step(self, *args, **kwargs):
        step(self, *args, **kwargs)
        os._exit(0)
    Sgd.step = first_step
    return signals_restored()
tutelage.cli.signals.signals_restored = exit_after_first_step
tutelage.cli.command(["run", "baseline", "--epochs", "2", "--runs", RUNS])
os._exit(1)
"""


def _python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def _help() -> None:
    subprocess.run([sys.executable, "-m", "tutelage", "--help"], check=True, capture_output=True)


def runs() -> Iterator[Ratio]:
    """The time to the first step relative to the lower bound, and the seconds of ``--help``."""

    def first_step() -> None:
        with tempfile.TemporaryDirectory() as folder:
            _python(f"RUNS = {folder!r}\n{FIRST_STEP}")

    with foreign_load() as busy:
        pairs = interleaved(first_step, lambda: _python(LOWER_BOUND), rounds=ROUNDS)
        helps = [timed(_help) for _ in range(ROUNDS)]
    yield Ratio(
        name="P16 start of `tutelage run` to its first step / import torch and build the network, ResNet-8, digits",
        rounds=[ours / bound for ours, bound in pairs],
        goal="<= 1.3",
        busy=busy[0],
        notes={"to the first step": f"{sorted(ours for ours, _ in pairs)[ROUNDS // 2]:.2f} s"},
    )
    yield Ratio(name="`tutelage --help`, seconds", rounds=helps, goal="<= 0.4", busy=busy[0])
