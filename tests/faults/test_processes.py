"""Several processes at once: on one run, on one teacher store, and one that sleeps for a while."""

from __future__ import annotations

import json
import random
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests.conftest import Many, Tried
from tests.faults.commands import (
    EACH,
    LINE,
    Hashes,
    bound,
    durations,
    end,
    finish,
    hashes,
    is_frozen,
    leftovers,
    notes,
    place,
    until,
)
from tests.faults.warm import Warm
from tutelage.teachers.logit_store import LogitStore


@pytest.mark.fault(13)
@pytest.mark.timeout(1200)
def test_a_process_that_sleeps_keeps_its_lock(
    warm: Warm, undisturbed: Hashes, tmp_path: Path, many: Many, tried: Tried
) -> None:
    """Put to sleep within a save of a checkpoint or of a model; a second command is refused all the while."""
    draw, slept = random.Random(13), [1.5, *many(0, 1) * [2.0] * 8, *many(0, 1) * [120.0]]
    for number, seconds in enumerate(slept):
        runs = tmp_path / f"{number}"
        pid = warm.start(LINE, runs, TUTELAGE_FAULT=f"stop@{draw.randrange(30, 120)}", **EACH)
        until(lambda pid=pid: is_frozen(pid))
        began, other = time.monotonic(), warm.start(LINE, runs)
        assert warm.wait(other) == 1
        assert f"is in use by process {pid} on {socket.gethostname()} since " in warm.said(other)
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        code, _ = end(warm, pid)
        assert code == 0, warm.said(pid)
        assert hashes(runs) == undisturbed
        assert min(durations(warm.said(pid))) > 0
        assert all(note["images_per_second"] > 0 for note in notes(runs))
    tried(len(slept), f"processes put to sleep, for {max(slept):.0f} s at the most")


@pytest.mark.fault(14)
@pytest.mark.timeout(1800)
def test_several_processes_begin_one_run_at_once(
    warm: Warm, undisturbed: Hashes, tmp_path: Path, many: Many, tried: Tried
) -> None:
    """Whoever comes to its fortieth durable operation holds the lock, and sleeps there until the others are gone."""
    draw, longest, refused = random.Random(14), 0.0, 0
    for number in range(many(2, 50)):
        runs = tmp_path / f"{number}"
        count = draw.randint(2, many(3, 8))
        pids = [warm.start(LINE, runs, TUTELAGE_FAULT="stop@40", **EACH) for _ in range(count)]
        winner, ends = watched(warm, runs, pids)
        for pid, (code, seconds) in ends.items():
            assert code == 1, warm.said(pid)
            assert f"is in use by process {winner} on {socket.gethostname()} since 2" in warm.said(pid)
            assert "Traceback" not in warm.said(pid)
            assert seconds < bound()
            longest, refused = max(longest, seconds), refused + 1
        code, _ = end(warm, winner)
        assert code == 0, warm.said(winner)
        assert hashes(runs) == undisturbed
        assert leftovers(runs) == []
        shutil.rmtree(runs)
    tried(refused, f"commands refused, {longest:.1f} s after they came to the lock at the most; one wins each time")


def watched(warm: Warm, runs: Path, pids: Sequence[int]) -> tuple[int, dict[int, tuple[int, float]]]:
    """Wait for all but one: the one that is frozen; of the others the exit codes, and seconds from the lock on."""
    reached: dict[int, float] = {}
    ends: dict[int, tuple[int, float]] = {}
    began = time.monotonic()
    deadline = began + 60
    while len(ends) < len(pids) - 1:
        assert time.monotonic() < deadline, [warm.said(pid) for pid in pids]
        for pid in set(pids) - ends.keys():
            if pid not in reached and holds_a_lock(pid, runs):
                reached[pid] = time.monotonic()
            code = warm.ended(pid)
            if code is not None:
                ends[pid] = code, time.monotonic() - reached.get(pid, began)
        time.sleep(0.002)
    (winner,) = set(pids) - ends.keys()
    until(lambda: is_frozen(winner))
    return winner, ends


def holds_a_lock(pid: int, runs: Path) -> bool:
    """Whether a process has a lock's file open."""
    try:
        links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:
        return False
    return any(link.startswith(f"{runs}/models/") and link.endswith(".lock") for link in links)


@pytest.mark.fault(16)
@pytest.mark.timeout(1200)
def test_runs_that_fill_one_store_and_one_is_killed(warm: Warm, tmp_path: Path, many: Many, tried: Tried) -> None:
    words = (
        *("run", "distill", "--teacher", "resnet8", "--epochs", "10", "--train-size", "100", "--test-size", "50"),
        *("--threads", "1", "--track", "none", "--temperature"),
    )
    degrees = ("2", "4", *many(0, 1) * ("6", "8"))
    alone, calm, draw = tmp_path / "alone", tmp_path / "calm", random.Random(16)
    for degree in degrees:
        finish(warm, (*words, degree), alone)
    (teacher,) = (model for model in (alone / "models").iterdir() if place(model) == 0)

    def begun(runs: Path) -> Path:
        shutil.copytree(teacher, runs / "models" / teacher.name)
        return runs

    finish(warm, (*words, degrees[0], "--teacher-store", "on"), begun(calm))
    expected, known = rows(calm)
    assert int(known.sum()) > 500
    killed = 0
    for number in range(many(1, 30)):
        runs = begun(tmp_path / f"{number}")
        pids = []
        for place_, degree in enumerate(degrees):
            fault = {"TUTELAGE_FAULT": f"kill@{draw.randrange(20, 45)}"} if place_ == 0 else {}
            pids.append(warm.start((*words, degree, "--teacher-store", "on"), runs, **fault))
        codes = [warm.wait(pid) for pid in pids]
        assert codes[0] in (-signal.SIGKILL, 0)
        assert codes[1:] == [0] * (len(degrees) - 1), [warm.said(pid) for pid in pids]
        killed += codes[0] != 0
        finish(warm, (*words, degrees[0], "--teacher-store", "on"), runs)
        values, there = rows(runs)
        assert torch.equal(there, known)
        assert torch.equal(values, expected)
        assert hashes(runs) == hashes(alone)
    assert killed
    tried(killed, f"runs killed that filled a store with {len(degrees) - 1} others; its rows are those of one alone")


def rows(runs: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """All rows of the one store of a folder of runs, and which of them are there."""
    (folder,) = (runs / "teachers").iterdir()
    told = json.loads((folder / "store.json").read_bytes())
    store = LogitStore(
        runs / "teachers",
        told["made_of"],
        size=told["size"],
        num_classes=told["num_classes"],
        dtype=getattr(torch, told["dtype"].removeprefix("torch.")),
        warn=pytest.fail,
    )
    assert store.folder == folder
    return store.read(torch.arange(told["size"]))
