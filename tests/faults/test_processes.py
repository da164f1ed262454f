"""Several processes at once: on one run, on one teacher store, and a process that is suspended for a while."""

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

from tests.conftest import Many, Tried, limit
from tests.faults.commands import (
    BOUND,
    EACH,
    LINE,
    Hashes,
    durations,
    end,
    finish,
    hashes,
    is_frozen,
    leftovers,
    notes,
    place,
    spent,
    until,
)
from tests.warm import Warm
from tutelage.teachers.logit_store import LogitStore


@pytest.mark.fault(13)
@pytest.mark.timeout(1200)
def test_a_suspended_process_keeps_its_lock(
    warm: Warm, undisturbed: Hashes, tmp_path: Path, many: Many, tried: Tried
) -> None:
    """Suspended while it saves a checkpoint or a model; a second command is refused all the while."""
    draw, durations_asleep = random.Random(13), [1.5, *many(0, 1) * [2.0] * 8, *many(0, 1) * [120.0]]
    for number, seconds in enumerate(durations_asleep):
        runs = tmp_path / f"{number}"
        pid = warm.start(LINE, runs, TUTELAGE_FAULT=f"stop@{draw.randrange(30, 120)}", **EACH)
        until(lambda pid=pid: is_frozen(pid))
        start, second = time.monotonic(), warm.start(LINE, runs)
        assert warm.wait(second) == 1
        assert f"is in use by process {pid} on {socket.gethostname()} since " in warm.output(second)
        time.sleep(max(0.0, start + seconds - time.monotonic()))
        code, _ = end(warm, pid)
        assert code == 0, warm.output(pid)
        assert hashes(runs) == undisturbed
        assert min(durations(warm.output(pid))) > 0
        assert all(note["images_per_second"] > 0 for note in notes(runs))
    tried(len(durations_asleep), f"processes put to sleep, for {max(durations_asleep):.0f} s at the most")


@pytest.mark.fault(14)
@pytest.mark.timeout(1800)
def test_several_processes_start_one_run_at_once(
    warm: Warm, undisturbed: Hashes, tmp_path: Path, many: Many, tried: Tried
) -> None:
    """The process at its fortieth durable operation holds the lock, and is suspended until the others end."""
    draw, longest, refused = random.Random(14), 0.0, 0
    for number in range(many(2, 50)):
        runs = tmp_path / f"{number}"
        count = draw.randint(2, many(3, 8))
        pids = [warm.start(LINE, runs, TUTELAGE_FAULT="stop@40", **EACH) for _ in range(count)]
        winner, ends = wait_for_losers(warm, runs, pids)
        for pid, (code, seconds) in ends.items():
            assert code == 1, warm.output(pid)
            assert f"is in use by process {winner} on {socket.gethostname()} since 2" in warm.output(pid)
            assert "Traceback" not in warm.output(pid)
            assert seconds < BOUND
            longest, refused = max(longest, seconds), refused + 1
        code, _ = end(warm, winner)
        assert code == 0, warm.output(winner)
        assert hashes(runs) == undisturbed
        assert leftovers(runs) == []
        shutil.rmtree(runs)
    tried(
        refused,
        f"commands refused, {longest:.1f} s of the processor's time after they came to the lock; one wins each time",
    )


def wait_for_losers(warm: Warm, runs: Path, pids: Sequence[int]) -> tuple[int, dict[int, tuple[int, float]]]:
    """Wait for all but the frozen process; returns it, and the others' exit codes and CPU time since the lock."""
    reached: dict[int, float] = {}
    ends: dict[int, tuple[int, float]] = {}
    deadline = time.monotonic() + limit(60)
    while len(ends) < len(pids) - 1:
        assert time.monotonic() < deadline, [warm.output(pid) for pid in pids]
        for pid in set(pids) - ends.keys():
            if pid not in reached and holds_a_lock(pid, runs):
                reached[pid] = spent(pid)
            code = warm.ended(pid)
            if code is not None:
                ends[pid] = code, warm.spent(pid) - reached.get(pid, 0.0)
        time.sleep(0.002)
    (winner,) = set(pids) - ends.keys()
    until(lambda: is_frozen(winner))
    return winner, ends


def holds_a_lock(pid: int, runs: Path) -> bool:
    """Whether a process has the file of a lock open."""
    try:
        links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:
        return False
    return any(link.startswith(f"{runs}/") and link.endswith(".lock") for link in links)


@pytest.mark.fault(16)
@pytest.mark.timeout(1200)
def test_runs_that_fill_one_store_and_one_is_killed(warm: Warm, tmp_path: Path, many: Many, tried: Tried) -> None:
    words = (
        *(
            "run",
            "distill",
            "--teacher",
            "tests.exact:Exact",
            "--epochs",
            "10",
            "--train-size",
            "100",
            "--test-size",
            "50",
        ),
        *("--threads", "1", "--track", "none", "--temperature"),
    )
    temperatures = ("2", "4", *many(0, 1) * ("6", "8"))
    without_store, undisturbed, draw = tmp_path / "alone", tmp_path / "calm", random.Random(16)
    for temperature in temperatures:
        finish(warm, (*words, temperature), without_store)
    (teacher,) = (model for model in (without_store / "models").iterdir() if place(model) == 0)

    def start_with_teacher(runs: Path) -> Path:
        shutil.copytree(teacher, runs / "models" / teacher.name)
        return runs

    finish(warm, (*words, temperatures[0], "--teacher-store", "on"), start_with_teacher(undisturbed))
    expected, present = rows(undisturbed)
    assert int(present.sum()) > 500
    killed = 0
    for number in range(many(1, 30)):
        runs = start_with_teacher(tmp_path / f"{number}")
        pids = []
        for number_of_run, temperature in enumerate(temperatures):
            fault = {"TUTELAGE_FAULT": f"kill@{draw.randrange(20, 45)}"} if number_of_run == 0 else {}
            pids.append(warm.start((*words, temperature, "--teacher-store", "on"), runs, **fault))
        codes = [warm.wait(pid) for pid in pids]
        assert codes[0] in (-signal.SIGKILL, 0)
        assert codes[1:] == [0] * (len(temperatures) - 1), [warm.output(pid) for pid in pids]
        killed += codes[0] != 0
        finish(warm, (*words, temperatures[0], "--teacher-store", "on"), runs)
        values, actual_present = rows(runs)
        assert torch.equal(actual_present, present)
        assert torch.equal(values, expected)
        assert hashes(runs) == hashes(without_store)
    assert killed
    tried(killed, f"runs killed that filled a store with {len(temperatures) - 1} others; its rows are right")


def rows(runs: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """All rows of the only store in a runs folder, and which of them are present."""
    (folder,) = (runs / "teachers").iterdir()
    metadata = json.loads((folder / "store.json").read_bytes())
    store = LogitStore(
        runs / "teachers",
        metadata["made_of"],
        size=metadata["size"],
        num_classes=metadata["num_classes"],
        dtype=getattr(torch, metadata["dtype"].removeprefix("torch.")),
        warn=pytest.fail,
    )
    assert store.folder == folder
    return store.read(torch.arange(metadata["size"]))
