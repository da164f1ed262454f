"""Kill the command anywhere; the same command finishes, with the models of an undisturbed run."""

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
from functools import partial
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND
from tests.conftest import Many, Tried
from tests.faults.commands import EACH, EXACT, LINE, LONGER, finish, hashes, until
from tests.warm import HERE, Warm
from tutelage import storage

Words = tuple[str, ...]
UndisturbedRun = Callable[[Words], Path]

TINY = ("run", "tolerant", "--generations", "1", "--threads", "1", "--track", "none")
SHORT = (*TINY, "--epochs", "3", "--train-size", "100", "--test-size", "50")
OFTEN = {"TUTELAGE_CHECKPOINT_SECONDS": "0.05"}
# With the most seconds that each is left to train: mostly saving; epochs longer than the half second between records,
# so that checkpoints fall inside of them too; a teacher whose logits are kept on disk. And between which operations a
# first model has a whole checkpoint and is not finished.
LONG = (
    (LINE, 0.4, (60, 290)),
    ((*TINY, "--model", "tests.faults.networks:Paced", "--epochs", "2", "--batch-size", "1"), 1.2, (60, 100)),
    ((*LONGER, *EXACT, "--teacher-store", "on"), 0.4, (60, 290)),
)
STEPS = 300
"""Those of an epoch of the second one."""


class Subprocesses:
    """Commands as a user starts them, with the interface of :class:`Warm`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, dict[int, subprocess.Popen[bytes]]()

    def start(self, words: Words, runs: Path, **environment: str) -> int:
        with (self.folder / "output.txt").open("wb") as output:
            path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))  # of the tests' networks
            env = {**os.environ, "PYTHONPATH": path, "TUTELAGE_RUNS": str(runs), **environment}
            process = subprocess.Popen([*COMMAND, *words], env=env, cwd=self.folder, stdout=output, stderr=output)
        self.processes[process.pid] = process
        return process.pid

    def ended(self, pid: int) -> int | None:
        return self.processes[pid].poll()

    def wait(self, pid: int) -> int:
        return self.processes[pid].wait()

    def output(self, pid: int) -> str:
        return (self.folder / "output.txt").read_text()


@pytest.fixture
def undisturbed_run(warm: Warm, finished: Path) -> UndisturbedRun:
    """The runs folder of an undisturbed run of a command, which is executed once."""

    def run(words: Words) -> Path:
        runs = finished if words == LINE else warm.folder / "-".join(words[4:])
        if not runs.exists():
            finish(warm, words, runs)
        assert len(hashes(runs)) == 2
        return runs

    return run


def names(runs: Path) -> set[str]:
    """The names of all files of models and studies."""
    return {str(path.relative_to(runs)) for part in ("models", "studies") for path in (runs / part).rglob("*")}


def is_training(runs: Path, pid: int) -> bool:
    """Whether a process holds the lock of a model."""
    return any(f"process {pid} on" in path.read_text() for path in runs.glob("models/*/.lock"))


def has_saved(runs: Path) -> bool:
    """Whether there is a complete checkpoint."""
    models = runs.glob("models/*")
    return any(storage.is_finished(one.folder) for model in models for one in storage.checkpoints(model))


class Observations:
    """All checkpoints observed: always equal at the same step of a model, with other weights at every other step."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, int], tuple[str, str]] = {}
        self.weights: dict[tuple[str, int], str] = {}

    def look(self, runs: Path) -> set[tuple[str, int]]:
        keys = set()
        for folder in runs.glob("models/*"):
            for checkpoint in storage.checkpoints(folder):
                if storage.is_finished(folder) or not storage.is_finished(checkpoint.folder):
                    continue  # it is being removed, or is incomplete
                key, files = (folder.name, checkpoint.step), storage.verify(checkpoint.folder)["files"]
                digests = files["state.safetensors"]["sha256"], files["history.json"]["sha256"]
                assert self.states.setdefault(key, digests) == digests, f"{key} is not what it was before"
                tensors = storage.read_tensors(checkpoint.folder / "state.safetensors")
                weights = {name: value for name, value in tensors.items() if name.startswith("network/")}
                self.weights[key] = hashlib.sha256(storage.tensor_bytes(weights)).hexdigest()
                keys.add(key)
        return keys

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
    undisturbed_run: UndisturbedRun,
    tmp_path: Path,
    many: Many,
    tried: Tried,
) -> None:
    """The first kill of a run comes after its first checkpoint: the run freezes itself there if this test is late."""
    draw, observations, commands = (
        random.Random(20),
        Observations(),
        warm if start == "forked" else Subprocesses(tmp_path),
    )
    killed = rounds_done = 0
    inside: set[tuple[str, int]] = set()
    while killed < many(*kills) or rounds_done < many(*rounds):
        words, seconds, frozen = LONG[rounds_done % len(LONG)]
        runs, attempts = tmp_path / f"{rounds_done}", many(*kills) // many(*rounds)
        for attempt in range(attempts):
            at = {"TUTELAGE_FAULT": f"stop@{draw.randrange(*frozen)}"} if attempt == 0 else {}
            pid = commands.start(words, runs, **EACH, **at)
            begun = has_saved if attempt == 0 else partial(is_training, pid=pid)
            until(lambda runs=runs, pid=pid, begun=begun: commands.ended(pid) is not None or begun(runs))
            time.sleep(draw.uniform(0.0, seconds))
            if commands.ended(pid) is None:
                os.kill(pid, signal.SIGKILL)
            code = commands.wait(pid)
            assert code in (0, -signal.SIGKILL), commands.output(pid)
            killed += code != 0
            keys = observations.look(runs)
            assert keys or attempt
            if "--batch-size" in words:
                inside |= {key for key in keys if key[1] % STEPS}
            if code == 0:
                break
        finish(warm, words, runs)
        assert hashes(runs) == hashes(undisturbed_run(words))
        assert names(runs) == names(undisturbed_run(words))
        shutil.rmtree(runs)
        rounds_done += 1
    assert observations.all_differ()
    assert inside or many(*rounds) < 2
    who = "started like a user's" if start == "whole" else "forked"
    tried(
        killed,
        f"commands, {who}, killed as they trained or measured, in {rounds_done} runs that all ended as undisturbed",
    )
    tried(len(observations.weights), f"different checkpoints seen on the way, {len(inside)} of them within an epoch")


@pytest.mark.fault(2)
@pytest.mark.timeout(3600)
def test_killed_at_every_durable_operation(
    warm: Warm, undisturbed_run: UndisturbedRun, tmp_path: Path, many: Many, tried: Tried
) -> None:
    """At each operation of a run; at each third one the resumed run is killed too, at a random operation."""
    draw, points, twice = random.Random(2), 0, 0
    expected, expected_names = hashes(undisturbed_run(SHORT)), names(undisturbed_run(SHORT))
    for operation in range(1, 1000) if many(0, 1) else (14, 79, 111):
        runs = tmp_path / f"{operation}"
        pid = warm.start(SHORT, runs, TUTELAGE_FAULT=f"kill@{operation}", **EACH)
        if (code := warm.wait(pid)) == 0:
            break  # the run has no such operation
        assert code == -signal.SIGKILL, warm.output(pid)
        if operation % 3 == 0:
            code = warm.run(SHORT, runs, TUTELAGE_FAULT=f"kill@{draw.randrange(1, 60)}", **EACH)
            assert code in (0, -signal.SIGKILL)
            twice += code != 0
        pid = warm.start(SHORT, runs, **EACH)
        assert warm.wait(pid) == 0, warm.output(pid)
        assert hashes(runs) == expected, f"killed at operation {operation}"
        assert names(runs) == expected_names, f"killed at operation {operation}"
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
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.environ["TUTELAGE_FAULT"] = f"kill@{n}"
        for step in range(1, 5):
            storage.save_checkpoint(Path(sys.argv[1]) / str(n), step, {"a": b"%d" % step * 50, "b": b"b"})
            os.write(writer, b"%d" % step)
        os._exit(0)
    os.close(writer)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(n, code, int(b"0" + os.read(reader, 9)) % 10)
    if code == 0:
        break
"""


@pytest.mark.fault(2)
def test_a_save_killed_at_every_durable_operation_leaves_old_or_new(tmp_path: Path, many: Many, tried: Tried) -> None:
    words = [sys.executable, "-c", FORKS, str(tmp_path), str(many(4, 1))]
    completed = subprocess.run(words, capture_output=True, text=True, check=True)
    *lines, last = [tuple(map(int, line.split())) for line in completed.stdout.splitlines()]
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
