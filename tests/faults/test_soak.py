"""Runs of several generations under all that the other tests do one at a time, for as long as there is time.

``TUTELAGE_SOAK_MINUTES`` says how long, 30 by default.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import Tried
from tests.faults.commands import Hashes, finish, hashes
from tests.faults.test_kills import OFTEN, names
from tests.faults.warm import Warm
from tutelage import storage

MINUTES = float(os.environ.get("TUTELAGE_SOAK_MINUTES", "30"))
FOUR = (
    *("run", "tolerant", "--generations", "3", "--epochs", "30", "--train-size", "100", "--test-size", "100"),
    *("--threads", "1", "--track", "none"),
)
LINES = (FOUR, FOUR, (*FOUR, "--teacher-store", "on"), (*FOUR, "--seeds", "0", "1"))
REASONS = ("is in use by", "its process ended with signal")


class Round:
    """One run, started again and again; ``counts`` says what was done to it."""

    def __init__(self, warm: Warm, words: tuple[str, ...], runs: Path, draw: random.Random, counts: Counter[str]):
        self.warm, self.words, self.runs, self.draw, self.counts = warm, words, runs, draw, counts
        self.living: list[int] = []

    def start(self) -> None:
        self.living.append(self.warm.start(self.words, self.runs, **OFTEN))
        self.counts["commands started"] += 1
        self.counts["of them while another one ran"] += len(self.living) > 1

    def reap(self, wait: bool = False) -> None:
        """Take note of who has ended; each in one of the ways there are."""
        for pid in tuple(self.living):
            code = self.warm.wait(pid) if wait else self.warm.ended(pid)
            if code is not None:
                said = self.warm.said(pid)
                assert "Traceback" not in said, said
                assert code in (0, 75, -signal.SIGKILL, -signal.SIGTERM) or any(r in said for r in REASONS), said
                self.counts["stopped with 75"] += code == 75
                self.counts["refused, as another one ran"] += code == 1 and REASONS[0] in said
                self.living.remove(pid)

    def disturb(self) -> None:
        if not self.living or (len(self.living) < 3 and self.draw.random() < 0.2):
            self.start()
        time.sleep(self.draw.uniform(0.05, 1.0))
        pid = self.draw.choice(self.living)
        match self.draw.choice(("kill", "kill", "stop", "freeze", "rot")):
            case "kill":
                os.kill(pid, signal.SIGKILL)
                self.counts["SIGKILL sent"] += 1
            case "stop":
                os.kill(pid, signal.SIGTERM)
                self.counts["SIGTERM sent"] += 1
            case "freeze":
                os.kill(pid, signal.SIGSTOP)
                if self.draw.random() < 0.5:
                    self.start()
                time.sleep(self.draw.uniform(0.1, 2.0))
                os.kill(pid, signal.SIGCONT)
                self.counts["SIGSTOP and SIGCONT sent"] += 1
            case "rot":
                for one in self.living:
                    os.kill(one, signal.SIGKILL)
                self.reap(wait=True)
                self.counts["newest checkpoints spoiled"] += sum(map(self.rot, (self.runs / "models").glob("*")))
        self.reap()

    def rot(self, folder: Path) -> bool:
        """Flip a bit of a model's newest checkpoint, where there is another one to go back to."""
        whole = [one.folder for one in storage.checkpoints(folder) if storage.is_finished(one.folder)]
        if storage.is_finished(folder) or len(whole) < 2 or "skipping" in newest_is(folder):
            return False
        path = self.draw.choice(sorted(path for path in whole[0].iterdir() if path.stat().st_size))
        data = bytearray(path.read_bytes())
        data[self.draw.randrange(len(data))] ^= 1 << self.draw.randrange(8)
        path.write_bytes(data)
        return True

    def end(self) -> None:
        for pid in self.living:
            os.kill(pid, signal.SIGTERM)
        self.reap(wait=True)


def newest_is(folder: Path) -> str:
    """What is said when the newest checkpoint is looked for."""
    said: list[str] = []
    storage.newest_checkpoint(folder, said.append)
    return " ".join(said)


def left(runs: Path) -> tuple[Hashes, set[str]]:
    """What a run computed, and all that lies in the folders of its models."""
    return hashes(runs), {name for name in names(runs) if name.startswith("models/")}


@pytest.mark.fault(1, 6, 13, 14)
@pytest.mark.torture
@pytest.mark.timeout(int(120 * MINUTES + 1200))
def test_whatever_comes_it_ends_as_undisturbed(warm: Warm, tmp_path: Path, tried: Tried) -> None:
    draw, counts = random.Random(2026), Counter[str]()
    calm: dict[tuple[str, ...], tuple[Hashes, set[str]]] = {}
    rounds, deadline = 0, time.monotonic() + 60 * MINUTES
    while time.monotonic() < deadline:
        words, runs = LINES[rounds % len(LINES)], tmp_path / f"{rounds}"
        if words not in calm:
            finish(warm, words, tmp_path / "calm")
            calm[words] = left(tmp_path / "calm")
            shutil.rmtree(tmp_path / "calm")
        disturbed = Round(warm, words, runs, draw, counts)
        for _ in range(draw.randint(5, 40)):
            disturbed.disturb()
        disturbed.end()
        finish(warm, words, runs)
        assert left(runs) == calm[words]
        shutil.rmtree(runs)
        rounds += 1
    tried(
        rounds, f"runs of four generations in {MINUTES:g} minutes, disturbed all the while, that ended as undisturbed"
    )
    for what, count in counts.items():
        tried(count, what)
