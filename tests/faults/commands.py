"""Helpers for tests of commands: start, watch and signal them, and read what they leave on disk."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import limit
from tests.warm import Warm
from tutelage import storage

Hashes = dict[str, dict[str, str]]

LINE = (
    *("run", "tolerant", "--generations", "1", "--epochs", "12", "--train-size", "60", "--test-size", "60"),
    *("--threads", "1", "--track", "none"),
)
"""Two generations that train within a second."""
EXACT = ("--model", "tests.exact:Exact")
"""For those whose teacher's logits are stored, and must not depend on the batch that they were computed in."""
STORED = (*LINE, *EXACT, "--teacher-store", "on")
LONGER = tuple({"12": "40", "60": "100"}.get(word, word) for word in LINE)
EACH = {"TUTELAGE_CHECKPOINT_SECONDS": "0"}
"""A checkpoint after each epoch."""
RESULTS = ("weights.safetensors", "metrics.jsonl", "predictions.safetensors", "evaluation.json")
BOUND = 5.0
"""Seconds of the processor's time that a command may still take when it is asked to stop."""


def hashes(runs: Path) -> Hashes:
    """SHA-256 of everything a run computed, by model, checked against the files."""
    digests = {}
    for manifest in (runs / "models").glob("*/manifest.json"):
        files = storage.verify(manifest.parent)["files"]
        digests[manifest.parent.name] = {name: files[name]["sha256"] for name in RESULTS}
    return digests


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + limit(seconds)
    while not condition():
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.002)


def says(warm: Warm, pid: int, text: str) -> bool:
    """Whether a process has printed a text so far."""
    return (warm.folder / f"{pid}.txt").exists() and text in warm.output(pid)


def is_frozen(pid: int) -> bool:
    """Whether a process was stopped by SIGSTOP."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def has_ended(pid: int) -> bool:
    """Whether a process has ended, also if its parent has not collected it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def listens(pid: int) -> bool:
    """Whether a process has installed a handler for SIGTERM."""
    mask = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(mask.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def spent(pid: int) -> float:
    """CPU seconds of a process and its children so far; 0 once it is gone."""
    try:
        fields, living = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split(), children(pid)
    except OSError:
        return 0.0
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # including children it has waited for
    return own + sum(map(spent, living))


def spent_by_ended() -> float:
    """CPU seconds of all child processes that have been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ended(process: subprocess.Popen[str], send: Callable[[], object]) -> tuple[str, float]:
    """Send a process a signal and wait for it; returns its output, and the CPU time from the signal to its end."""
    before, already = spent_by_ended(), spent(process.pid)
    send()
    output = process.communicate(timeout=limit(120))[1]
    return output, max(0.0, spent_by_ended() - before - already)


def finish(warm: Warm, words: tuple[str, ...], runs: Path, **environment: str) -> str:
    """Run a command to its successful end; returns its output."""
    pid = warm.start(words, runs, **environment)
    assert warm.wait(pid) == 0, warm.output(pid)
    return warm.output(pid)


def end(warm: Warm, pid: int, *numbers: int) -> tuple[int, float]:
    """Send signals to a process and wake it if it is frozen; returns its exit code, and the CPU time to its end."""
    already, deadline = spent(pid), time.monotonic() + limit(60)
    for number in numbers:
        os.kill(pid, number)
    while (code := warm.ended(pid)) is None:
        os.kill(pid, signal.SIGCONT)  # it may freeze only now
        assert time.monotonic() < deadline, "it does not end"
        time.sleep(0.002)
    return code, max(0.0, warm.spent(pid) - already)


def leftovers(folder: Path) -> list[Path]:
    """Temporary files."""
    return [path for path in folder.rglob("*") if path.name.startswith(".partial-")]


def assert_checkpoints_are_whole(runs: Path) -> int:
    """Assert that every folder of checkpoints holds only valid ones; returns their number."""
    checkpoints = [path for model in (runs / "models").glob("*") for path in model.glob("checkpoints/*")]
    for path in checkpoints:
        storage.verify(path)
    return len(checkpoints)


def durations(output: str) -> list[float]:
    """The seconds of each training run, from the output of a command."""
    return [float(seconds) for seconds in re.findall(r"trained in (\S+) s", output)]


def notes(runs: Path) -> list[dict[str, Any]]:
    """The notes in the manifests of finished models."""
    return [storage.read_manifest(path.parent)["note"] for path in (runs / "models").glob("*/manifest.json")]


def config_of(model: Path) -> dict[str, Any]:
    """The configuration of a finished model."""
    config: dict[str, Any] = json.loads((model / "config.json").read_bytes())
    return config


def place(model: Path) -> int:
    """The place of a finished model in its lineage."""
    return int(config_of(model)["place"])


def stamps(model: Path) -> dict[str, tuple[int, int]]:
    """Inode and modification time of each file of a model, to detect any change."""
    paths = [path for path in model.iterdir() if path.name != ".lock"]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}
