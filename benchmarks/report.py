"""P18: `tutelage report` for 100 runs of 150 epochs, each with logits for 10,000 test images.

The command runs in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.report import made

from benchmarks.measure import Ratio, foreign_load, timed
from tutelage.study import Study

ROUNDS, IMAGES = 7, 10_000


def accuracy(arm: str, place: int, seed: int) -> float:
    """An accuracy that differs between arms and between seeds."""
    return 0.8 + 0.005 * int(arm.split()[1]) + 0.003 * ((seed * 7 + place) % 5)


def runs() -> Iterator[Ratio]:
    """The seconds that the page takes, and its size."""
    made.IMAGES = IMAGES
    arms = tuple(made.arm(f"arm {number}", epochs=150, lr=0.1 + number / 100) for number in range(20))
    study = Study(lineages=arms, seeds=(0, 1, 2, 3, 4))
    with tempfile.TemporaryDirectory() as folder:
        made.write(study, Path(folder), accuracy)
        command = [sys.executable, "-m", "tutelage", "report", "--runs", folder, "--out", f"{folder}/out"]

        def report() -> None:
            subprocess.run(command, check=True, capture_output=True)

        report()
        with foreign_load() as busy:
            seconds = [timed(report) for _ in range(ROUNDS)]
        (page,) = Path(folder, "out").glob("*.html")
        megabytes = page.stat().st_size / 1e6
    yield Ratio(name="P18 `tutelage report` for 100 runs, seconds", rounds=seconds, goal="<= 3", busy=busy[0])
    yield Ratio(name="P18 megabytes of that page", rounds=[megabytes], goal="<= 2", busy=busy[0])
