"""Runs of several generations under all faults of the other tests combined.

``TUTELAGE_SOAK_MINUTES`` sets the duration, 30 by default.
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
from tests.faults.commands import EXACT, Hashes, finish, hashes
from tests.faults.test_kills import OFTEN, names
from tests.warm import Warm
from tutelage import storage

MINUTES = float(os.environ.get("TUTELAGE_SOAK_MINUTES", "30"))
FOUR = (
    *("run", "tolerant", "--generations", "3", "--epochs", "30", "--train-size", "100", "--test-size", "100"),
    *("--threads", "1", "--track", "none"),
)
LINES = (FOUR, FOUR, (*FOUR, *EXACT, "--teacher-store", "on"), (*FOUR, "--seeds", "0", "1"))
REASONS = ("is in use by", "its process ended with signal")


class Round:
    """One run, started again and again; ``counts`` records the faults."""

    def __init__(self, warm: Warm, words: tuple[str, ...], runs: Path, draw: random.Random, counts: Counter[str]):
        self.warm, self.words, self.runs, self.draw, self.counts = warm, words, runs, draw, counts
        self.pids: list[int] = []

    def start(self) -> None:
        self.pids.append(self.warm.start(self.words, self.runs, **OFTEN))
        self.counts["commands started"] += 1
        self.counts["of them while another one ran"] += len(self.pids) > 1

    def reap(self, wait: bool = False) -> None:
        """Collect ended processes and assert that each ended in an allowed way."""
        for pid in tuple(self.pids):
            code = self.warm.wait(pid) if wait else self.warm.ended(pid)
            if code is not None:
                output = self.warm.output(pid)
                assert "Traceback" not in output, output
                assert code in (0, 75, -signal.SIGKILL, -signal.SIGTERM) or any(r in output for r in REASONS), output
                self.counts["stopped with 75"] += code == 75
                self.counts["refused, as another one ran"] += code == 1 and REASONS[0] in output
                self.pids.remove(pid)

    def disturb(self) -> None:
        if not self.pids or (len(self.pids) < 3 and self.draw.random() < 0.2):
            self.start()
        time.sleep(self.draw.uniform(0.05, 1.0))
        pid = self.draw.choice(self.pids)
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
                for other in self.pids:
                    os.kill(other, signal.SIGKILL)
                self.reap(wait=True)
                self.counts["newest checkpoints spoiled"] += sum(map(self.rot, (self.runs / "models").glob("*")))
        self.reap()

    def rot(self, folder: Path) -> bool:
        """Flip a bit of a model's newest checkpoint, if there is an older one to fall back to."""
        checkpoints = [
            checkpoint.folder for checkpoint in storage.checkpoints(folder) if storage.is_finished(checkpoint.folder)
        ]
        if storage.is_finished(folder) or len(checkpoints) < 2 or "skipping" in checkpoint_warnings(folder):
            return False
        path = self.draw.choice(sorted(path for path in checkpoints[0].iterdir() if path.stat().st_size))
        data = bytearray(path.read_bytes())
        data[self.draw.randrange(len(data))] ^= 1 << self.draw.randrange(8)
        path.write_bytes(data)
        return True

    def end(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGTERM)
        self.reap(wait=True)


def checkpoint_warnings(folder: Path) -> str:
    """The warnings of the search for the newest checkpoint."""
    warnings: list[str] = []
    storage.newest_checkpoint(folder, warnings.append, folder.name)
    return " ".join(warnings)


def contents(runs: Path) -> tuple[Hashes, set[str]]:
    """What a run computed, and all files of its models."""
    return hashes(runs), {name for name in names(runs) if name.startswith("models/")}


@pytest.mark.fault(1, 6, 13, 14)
@pytest.mark.torture
@pytest.mark.timeout(int(120 * MINUTES + 1200))
def test_all_faults_combined(warm: Warm, tmp_path: Path, tried: Tried) -> None:
    draw, counts = random.Random(2026), Counter[str]()
    undisturbed: dict[tuple[str, ...], tuple[Hashes, set[str]]] = {}
    rounds, deadline = 0, time.monotonic() + 60 * MINUTES
    while time.monotonic() < deadline:
        words, runs = LINES[rounds % len(LINES)], tmp_path / f"{rounds}"
        if words not in undisturbed:
            finish(warm, words, tmp_path / "calm")
            undisturbed[words] = contents(tmp_path / "calm")
            shutil.rmtree(tmp_path / "calm")
        disturbed = Round(warm, words, runs, draw, counts)
        for _ in range(draw.randint(5, 40)):
            disturbed.disturb()
        disturbed.end()
        finish(warm, words, runs)
        assert contents(runs) == undisturbed[words]
        shutil.rmtree(runs)
        rounds += 1
    tried(
        rounds, f"runs of four generations in {MINUTES:g} minutes, disturbed all the while, that ended as undisturbed"
    )
    for fault, count in counts.items():
        tried(count, fault)
