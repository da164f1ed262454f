"""Disks that are full, read-only, blocked or gone: one clear line, nothing is lost, and later the run resumes."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Many, Tried
from tests.faults.commands import (
    EACH,
    EXACT,
    LINE,
    STORED,
    Hashes,
    assert_checkpoints_are_whole,
    end,
    finish,
    hashes,
    is_frozen,
    leftovers,
    place,
    until,
)
from tests.warm import Warm
from tutelage import storage

FULL = re.compile(r"no space: (.+) (needs [\d,]+ bytes|cannot be written), [\d,]+ bytes are free there")


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """Mount an in-memory file system with these options at a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def warnings(output: str) -> list[str]:
    """The warnings of a command, except about its teacher, which may or may not be at chance."""
    return [line for line in output.splitlines() if "warning" in line and "is at chance" not in line]


def run_failing(warm: Warm, words: tuple[str, ...], runs: Path, **environment: str) -> str:
    """Run a command that exits with 1 and without a traceback; returns its output."""
    pid = warm.start(words, runs, **environment)
    code, output = warm.wait(pid), warm.output(pid)
    assert code == 1, output
    assert "Traceback" not in output
    return output


@pytest.mark.fault(9, 10)
@pytest.mark.timeout(1800)
def test_a_run_that_does_not_fit(warm: Warm, undisturbed: Hashes, tmp_path: Path, many: Many, tried: Tried) -> None:
    """Full while the study, a lock, a checkpoint, the finished model or the failures are written: always the same."""
    sizes = [f"size={kib}k" for kib in range(4, 2600, 40)] + [f"nr_inodes={count}" for count in range(4, 24)]
    cases = [(size, environment) for size in sizes for environment in (EACH, {})]  # many checkpoints or none
    quick_cases = [("size=8k", {}), ("size=600k", {}), ("size=1500k", EACH)]
    full_at, tries, checkpoints = set(), 0, 0
    for number, (size, environment) in enumerate(cases if many(0, 1) else quick_cases):
        with disk(tmp_path / f"{number}", size) as runs:
            pid = warm.start(LINE, runs, **environment)
            code, output = warm.wait(pid), warm.output(pid)
            if code == 0:
                continue
            assert code == 1, output
            assert "Traceback" not in output
            match = FULL.search(output)
            assert match, output
            path = Path(match[1]).relative_to(runs)
            full_at.add(f"{path.parts[0]}: {path.name}")
            assert leftovers(runs) == []
            checkpoints = max(checkpoints, assert_checkpoints_are_whole(runs))
            remount(runs, "size=20m,nr_inodes=10000")
            finish(warm, LINE, runs)
            assert hashes(runs) == undisturbed
            tries += 1
    assert {"models: state.safetensors", "models: weights.safetensors"} <= full_at
    assert any(name.startswith("studies") for name in full_at)
    assert checkpoints == 2
    tried(tries, f"disks too small, among others for {', '.join(sorted(full_at))}")


@pytest.mark.fault(9)
def test_a_checkpoint_above_the_limit_of_a_file(warm: Warm, undisturbed: Hashes, tmp_path: Path) -> None:
    """As under a user's quota on a shared disk."""
    pid = warm.start(LINE, tmp_path, TUTELAGE_FAULT="stop@1", **EACH)
    until(lambda: is_frozen(pid))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    os.kill(pid, signal.SIGCONT)
    code, output = warm.wait(pid), warm.output(pid)
    assert code == 1, output
    assert re.search(r"failed: no space \(file too large\): \S+state.safetensors needs [\d,]+ bytes", output)
    assert "Traceback" not in output
    assert leftovers(tmp_path) == []
    finish(warm, LINE, tmp_path)
    assert hashes(tmp_path) == undisturbed


@pytest.mark.fault(10, 16)
def test_a_store_that_fills_its_disk_does_not_stop_the_training(warm: Warm, tmp_path: Path) -> None:
    words, finished = STORED, tmp_path / "finished"
    finish(warm, (*LINE, *EXACT), finished)
    undisturbed = hashes(finished)
    for model in (finished / "models").iterdir():
        if place(model) == 0:
            shutil.copytree(model, tmp_path / "models" / model.name)
    with disk(tmp_path / "teachers", "size=12k") as stores:
        output = finish(warm, words, tmp_path)
        assert re.search(
            r"warning: the teacher's logits are no longer stored: no space: \S+rows needs [\d,]+ b", output
        )
        assert hashes(tmp_path) == undisturbed
        (rows,) = stores.glob("*/rows")
        assert rows.stat().st_size == 0  # the rows that did fit were removed again
        student = next(model for model in (tmp_path / "models").iterdir() if place(model) == 1)
        shutil.rmtree(student)
        remount(stores, "size=20m")
        assert warnings(finish(warm, words, tmp_path)) == []
        assert hashes(tmp_path) == undisturbed
        assert rows.stat().st_size > 4096


@pytest.mark.fault(10)
def test_curves_that_fill_their_disk_do_not_stop_the_training(
    warm: Warm, undisturbed: Hashes, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    words = tuple("tensorboard" if word == "none" else word for word in LINE)
    with disk(tmp_path / "tensorboard", "size=4k") as curves:
        output = finish(warm, words, tmp_path)
        assert "warning: tensorboard failed and receives no more events: " in output
        assert "Traceback" not in output
        assert hashes(tmp_path) == undisturbed
        assert not list(curves.rglob("1-*/whole.txt"))
        remount(curves, "size=20m")
        assert warnings(finish(warm, words, tmp_path)) == []
        assert len(list(curves.rglob("whole.txt"))) == 2


@pytest.mark.fault(10)
def test_a_report_that_does_not_fit(warm: Warm, finished: Path, tmp_path: Path) -> None:
    """Nothing is half-written, and an earlier report stays as it was."""
    with disk(tmp_path / "pages", "size=600k") as pages:
        finish(warm, ("report", "--out", str(pages)), finished)
        (page,) = pages.glob("*.html")
        before = page.read_bytes()
        output = run_failing(warm, ("report", "--out", str(pages), "--confidence", "0.9"), finished)
        assert FULL.search(output.splitlines()[-1])[1] == str(page)
        assert page.read_bytes() == before
        assert {path.suffix for path in pages.iterdir()} == {".html", ".md", ".csv"}
        remount(pages, "size=2m")
        finish(warm, ("report", "--out", str(pages), "--confidence", "0.9"), finished)
        assert page.read_bytes() == before  # one arm: no interval depends on the confidence


@pytest.mark.fault(10)
def test_output_that_cannot_be_written(finished: Path, undisturbed: Hashes, tmp_path: Path) -> None:
    """A training run continues without its output. For a command that prints a table it is an error."""
    (run,) = (finished / "studies").iterdir()
    command = [sys.executable, "-m", "tutelage"]
    environment = {**os.environ, "TUTELAGE_RUNS": str(tmp_path)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*command, *LINE], env=environment, stdout=subprocess.DEVNULL, stderr=full, check=False)
        assert done.returncode == 0
        assert hashes(tmp_path) == undisturbed
        environment["TUTELAGE_RUNS"] = str(finished)
        done = subprocess.run(
            [*command, "show", run.name], env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "tutelage: no space left where the output goes\n"


@pytest.mark.fault(11)
def test_a_read_only_disk(warm: Warm, undisturbed: Hashes, tmp_path: Path) -> None:
    """A new run, an interrupted one, and a finished one, which writes nothing and shows its table."""
    with disk(tmp_path / "runs", "size=20m") as runs:
        remount(runs, "ro")
        output = run_failing(warm, LINE, runs)
        assert output.startswith("tutelage: [Errno 30] Read-only file system: ")
        assert len(output.splitlines()) == 1
        assert ".partial-" not in output

        remount(runs, "rw")
        pid = warm.start(LINE, runs, TUTELAGE_FAULT="kill@80", **EACH)
        assert warm.wait(pid) == -9
        checkpoints = whole_checkpoints(runs)
        assert checkpoints
        remount(runs, "ro")
        output = run_failing(warm, LINE, runs)
        assert re.fullmatch(r"tutelage: \[Errno 30\] Read-only file system: '\S+/.lock'\n", output)
        assert "trained in" not in output
        assert whole_checkpoints(runs) == checkpoints

        remount(runs, "rw")
        finish(warm, LINE, runs)
        assert hashes(runs) == undisturbed
        remount(runs, "ro")
        finish(warm, LINE, runs)


def whole_checkpoints(runs: Path) -> list[Path]:
    return sorted(path for path in runs.glob("models/*/checkpoints/*") if storage.is_finished(path))


@pytest.mark.fault(11)
@pytest.mark.parametrize("where", [".", "runs", "runs/models", "runs/studies"])
def test_a_file_in_the_place_of_a_folder(where: str, warm: Warm, tmp_path: Path) -> None:
    obstacle = tmp_path / "there" / where
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    obstacle.write_text("in the way")
    pid = warm.start(LINE, tmp_path / "there" / "runs")
    code, output = warm.wait(pid), warm.output(pid)
    assert code in (1, 2)
    assert f"{obstacle} is not a folder" in output
    assert "Traceback" not in output
    assert "trained in" not in output
    assert obstacle.read_text() == "in the way"


@pytest.mark.fault(11)
@pytest.mark.parametrize("at", ["", "60"])
def test_a_folder_that_vanishes_while_it_trains(at: str, warm: Warm, undisturbed: Hashes, tmp_path: Path) -> None:
    """At any moment, and within a checkpoint: it is not silently created again."""
    runs, elsewhere = tmp_path / "runs", tmp_path / "elsewhere"
    # At any moment of its first model, which a late test would miss.
    pid = warm.start(LINE, runs, TUTELAGE_FAULT=f"stop@{at or 250}", **EACH)
    # Only once there is a checkpoint: an empty folder that vanishes may be created again.
    until(lambda: is_frozen(pid) if at else any((runs / "models").glob("*/checkpoints/*/manifest.json")))
    runs.rename(elsewhere)
    assert_gone(warm, pid, runs)
    assert not runs.exists()
    elsewhere.rename(runs)
    finish(warm, LINE, runs)
    assert hashes(runs) == undisturbed


@pytest.mark.fault(11)
def test_a_disk_that_vanishes_while_it_trains(warm: Warm, undisturbed: Hashes, tmp_path: Path) -> None:
    """The folder below the mount point is not touched. (Simulated by another disk mounted over it.)"""
    with disk(tmp_path / "runs", "size=20m") as runs:
        pid = warm.start(LINE, runs, TUTELAGE_FAULT="stop@60", **EACH)
        until(lambda: is_frozen(pid))
        with disk(runs, "size=20m"):
            assert_gone(warm, pid, runs)
            assert list(runs.iterdir()) == []
        finish(warm, LINE, runs)
        assert hashes(runs) == undisturbed


def assert_gone(warm: Warm, pid: int, runs: Path) -> None:
    """Assert that the process ends with one line that names the folder."""
    code, _ = end(warm, pid)
    output = warm.output(pid)
    assert code == 1, output
    assert "Traceback" not in output
    (message,) = [line for line in output.splitlines() if "failed: " in line or line.startswith("tutelage: ")]
    assert f"{runs}/models" in message
