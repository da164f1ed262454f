"""Commands in the hands of a test: started, watched, signalled, and what they leave on disk."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.warm import Warm
from tutelage import storage

Hashes = dict[str, dict[str, str]]

LINE = (
    *("run", "tolerant", "--generations", "1", "--epochs", "12", "--train-size", "60", "--test-size", "60"),
    *("--threads", "1", "--track", "none"),
)
"""Two generations that are trained in a blink."""
LONGER = tuple({"12": "40", "60": "100"}.get(word, word) for word in LINE)
EACH = {"TUTELAGE_CHECKPOINT_SECONDS": "0"}
"""A checkpoint after each epoch."""
RESULTS = ("weights.safetensors", "metrics.jsonl", "predictions.safetensors", "evaluation.json")


def bound() -> float:
    """Seconds from a signal to the end; more where a machine has more to do than it has cores."""
    return 5.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def hashes(runs: Path) -> Hashes:
    """SHA-256 of all that a run computed, by model; the files are what these say."""
    found = {}
    for manifest in (runs / "models").glob("*/manifest.json"):
        files = storage.verify(manifest.parent)["files"]
        found[manifest.parent.name] = {name: files[name]["sha256"] for name in RESULTS}
    return found


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.002)


def says(warm: Warm, pid: int, text: str) -> bool:
    """Whether a process has said something so far."""
    return (warm.folder / f"{pid}.txt").exists() and text in warm.said(pid)


def is_frozen(pid: int) -> bool:
    """Whether a process was stopped by SIGSTOP."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def listens(pid: int) -> bool:
    """Whether a process has a handler of its own for SIGTERM."""
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def finish(warm: Warm, words: tuple[str, ...], runs: Path, **environment: str) -> str:
    """Run a command to its good end; returns what it said."""
    pid = warm.start(words, runs, **environment)
    assert warm.wait(pid) == 0, warm.said(pid)
    return warm.said(pid)


def end(warm: Warm, pid: int, *numbers: int) -> tuple[int, float]:
    """Send signals to a process, wake it if it is frozen, and wait; its exit code and the seconds that took."""
    asked = time.monotonic()
    for number in numbers:
        os.kill(pid, number)
    os.kill(pid, signal.SIGCONT)
    code = warm.wait(pid)
    return code, time.monotonic() - asked


def leftovers(folder: Path) -> list[Path]:
    """Temporary files."""
    return [path for path in folder.rglob("*") if path.name.startswith(".partial-")]


def assert_checkpoints_are_whole(runs: Path) -> int:
    """Each one that is there verifies, and nothing lies there that is none; returns how many there are."""
    found = [path for model in (runs / "models").glob("*") for path in model.glob("checkpoints/*")]
    for path in found:
        storage.verify(path)
    return len(found)


def durations(said: str) -> list[float]:
    """The seconds that trainings took, as the command told."""
    return [float(seconds) for seconds in re.findall(r"trained in (\S+) s", said)]


def notes(runs: Path) -> list[dict[str, Any]]:
    """What the manifests of finished models note."""
    return [storage.read_manifest(path.parent)["note"] for path in (runs / "models").glob("*/manifest.json")]


def made_of(model: Path) -> dict[str, Any]:
    """What a finished model says that it was made of."""
    found: dict[str, Any] = json.loads((model / "config.json").read_bytes())
    return found


def place(model: Path) -> int:
    """Where a finished model stands in its lineage."""
    return int(made_of(model)["place"])


def stamps(model: Path) -> dict[str, tuple[int, int]]:
    """What tells whether any file of a model was touched."""
    found = [path for path in model.iterdir() if path.name != ".lock"]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}
