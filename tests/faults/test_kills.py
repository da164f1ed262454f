"""Kill the command anywhere; the same command finishes, and what it trained is that of an undisturbed run."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND
from tests.conftest import Many, Tried
from tests.faults.commands import EACH, LINE, LONGER, finish, hashes, until
from tests.faults.warm import Warm
from tutelage import storage

Words = tuple[str, ...]
Calm = Callable[[Words], Path]

TINY = ("run", "tolerant", "--generations", "1", "--threads", "1", "--track", "none")
SHORT = (*TINY, "--epochs", "3", "--train-size", "100", "--test-size", "50")
OFTEN = {"TUTELAGE_CHECKPOINT_SECONDS": "0.05"}
# With the most seconds that each is left to train: mostly saving; epochs longer than the half second between records,
# so that checkpoints fall inside of them too; a teacher whose logits are kept on disk.
LONG = (
    (LINE, EACH, 0.4),
    ((*TINY, "--epochs", "2", "--batch-size", "1"), OFTEN, 1.2),
    ((*LONGER, "--teacher-store", "on"), OFTEN, 0.4),
)
STEPS = 300
"""Those of an epoch of the second one."""


class Whole:
    """Commands as a user starts them, with what a test asks of :class:`Warm`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, dict[int, subprocess.Popen[bytes]]()

    def start(self, words: Words, runs: Path, **environment: str) -> int:
        with (self.folder / "said.txt").open("wb") as said:
            given = {**os.environ, "TUTELAGE_RUNS": str(runs), **environment}
            process = subprocess.Popen([*COMMAND, *words], env=given, cwd=self.folder, stdout=said, stderr=said)
        self.processes[process.pid] = process
        return process.pid

    def ended(self, pid: int) -> int | None:
        return self.processes[pid].poll()

    def wait(self, pid: int) -> int:
        return self.processes[pid].wait()

    def said(self, pid: int) -> str:
        return (self.folder / "said.txt").read_text()


@pytest.fixture
def calm(warm: Warm, finished: Path) -> Calm:
    """The folder of runs of a command that nothing disturbed; it is carried out once."""

    def run(words: Words) -> Path:
        runs = finished if words == LINE else warm.folder / "-".join(words[4:])
        if not runs.exists():
            finish(warm, words, runs)
        assert len(hashes(runs)) == 2
        return runs

    return run


def names(runs: Path) -> set[str]:
    """All that lies in the folders of models and studies; but temporary files in those, which nothing ever holds."""
    found = {str(path.relative_to(runs)) for part in ("models", "studies") for path in (runs / part).rglob("*")}
    return {name for name in found if not (name.startswith("studies/") and ".partial-" in name)}


def is_training(runs: Path, pid: int) -> bool:
    """Whether a process has come to a model, and holds it."""
    return any(f"process {pid} on" in path.read_text() for path in runs.glob("models/*/.lock"))


class Moments:
    """The checkpoints that were ever seen: the same at the same step of a model, other weights at any other step."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, int], tuple[str, str]] = {}
        self.weights: dict[tuple[str, int], str] = {}

    def look(self, runs: Path) -> set[tuple[str, int]]:
        seen = set()
        for folder in runs.glob("models/*"):
            for checkpoint in storage.checkpoints(folder):
                if storage.is_finished(folder) or not storage.is_finished(checkpoint.folder):
                    continue  # it is being removed, or was cut short
                key, files = (folder.name, checkpoint.step), storage.verify(checkpoint.folder)["files"]
                found = files["state.safetensors"]["sha256"], files["history.json"]["sha256"]
                assert self.states.setdefault(key, found) == found, f"{key} is not what it was before"
                tensors = storage.read_tensors(checkpoint.folder / "state.safetensors")
                weights = {name: value for name, value in tensors.items() if name.startswith("network/")}
                self.weights[key] = hashlib.sha256(storage.tensor_bytes(weights)).hexdigest()
                seen.add(key)
        return seen

    def all_differ(self) -> bool:
        return len(set(self.weights.values())) == len(self.weights)


@pytest.mark.fault(1)
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("start", "kills", "rounds"), [("forked", (4, 300), (1, 20)), ("whole", (1, 25), (1, 3))])
def test_killed_at_random_moments(
    start: str,
    kills: tuple[int, int],
    rounds: tuple[int, int],
    warm: Warm,
    calm: Calm,
    tmp_path: Path,
    many: Many,
    tried: Tried,
) -> None:
    draw, moments, commands = random.Random(20), Moments(), warm if start == "forked" else Whole(tmp_path)
    killed = done = 0
    inside: set[tuple[str, int]] = set()
    while killed < many(*kills) or done < many(*rounds):
        words, saving, seconds = LONG[done % len(LONG)]
        runs, left = tmp_path / f"{done}", many(*kills) // many(*rounds)
        code = -1
        while left and code:
            pid = commands.start(words, runs, **saving)
            until(lambda runs=runs, pid=pid: commands.ended(pid) is not None or is_training(runs, pid))
            time.sleep(draw.uniform(0.0, seconds))
            if commands.ended(pid) is None:
                os.kill(pid, signal.SIGKILL)
            code = commands.wait(pid)
            assert code in (0, -signal.SIGKILL), commands.said(pid)
            killed, left = killed + (code != 0), left - 1
            seen = moments.look(runs)
            if "--batch-size" in words:
                inside |= {key for key in seen if key[1] % STEPS}
        finish(warm, words, runs)
        assert hashes(runs) == hashes(calm(words))
        assert names(runs) == names(calm(words))
        shutil.rmtree(runs)
        done += 1
    assert moments.all_differ()
    assert len(moments.weights) >= done
    assert inside or many(*rounds) < 2
    who = "started like a user's" if start == "whole" else "forked"
    tried(
        killed, f"commands, {who}, killed as they trained or measured, in {done} runs that all ended as undisturbed"
    )
    tried(len(moments.weights), f"different checkpoints seen on the way, {len(inside)} of them within an epoch")


@pytest.mark.fault(2)
@pytest.mark.timeout(3600)
def test_killed_at_every_durable_operation(warm: Warm, calm: Calm, tmp_path: Path, many: Many, tried: Tried) -> None:
    """At each operation of a run; at each third one, what continues is killed as well, at an operation of its own."""
    draw, points, twice = random.Random(2), 0, 0
    expected, left = hashes(calm(SHORT)), names(calm(SHORT))
    for operation in range(1, 1000) if many(0, 1) else (14, 79, 111):
        runs = tmp_path / f"{operation}"
        pid = warm.start(SHORT, runs, TUTELAGE_FAULT=f"kill@{operation}", **EACH)
        if (code := warm.wait(pid)) == 0:
            break  # it has no such operation
        assert code == -signal.SIGKILL, warm.said(pid)
        if operation % 3 == 0:
            code = warm.run(SHORT, runs, TUTELAGE_FAULT=f"kill@{draw.randrange(1, 60)}", **EACH)
            assert code in (0, -signal.SIGKILL)
            twice += code != 0
        pid = warm.start(SHORT, runs, **EACH)
        assert warm.wait(pid) == 0, warm.said(pid)
        assert hashes(runs) == expected, f"killed at operation {operation}"
        assert names(runs) == left, f"killed at operation {operation}"
        shutil.rmtree(runs)
        points += 1
    assert points >= many(3, 150)
    tried(points, "durable operations of a run of two generations, killed there; all ended as undisturbed")
    tried(twice, "of these runs, killed once more while they continued")


FORKS = """
import os, sys
from pathlib import Path
from tutelage import storage
for n in range(1, 1000, int(sys.argv[2])):
    ready, told = os.pipe()
    if (child := os.fork()) == 0:
        os.environ["TUTELAGE_FAULT"] = f"kill@{n}"
        for step in range(1, 5):
            storage.save_checkpoint(Path(sys.argv[1]) / str(n), step, {"a": b"%d" % step * 50, "b": b"b"})
            os.write(told, b"%d" % step)
        os._exit(0)
    os.close(told)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(n, code, int(b"0" + os.read(ready, 9)) % 10)
    if code == 0:
        break
"""


@pytest.mark.fault(2)
def test_a_save_killed_at_every_durable_operation_leaves_old_or_new(tmp_path: Path, many: Many, tried: Tried) -> None:
    words = [sys.executable, "-c", FORKS, str(tmp_path), str(many(4, 1))]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    *lines, last = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert last[1:] == (0, 4)
    assert len(lines) > many(15, 60)
    for n, code, acknowledged in lines:
        assert code == -signal.SIGKILL
        newest = storage.newest_checkpoint(tmp_path / f"{n}", pytest.fail)
        if newest is None:
            assert acknowledged == 0
        else:
            assert newest.step in (acknowledged, acknowledged + 1)
            assert (newest.folder / "a").read_bytes() == b"%d" % newest.step * 50
    tried(len(lines), "operations of four saves, killed there; the last one acknowledged, or the next, is there")
