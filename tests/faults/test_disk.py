"""Disks that are full, read-only, in the way or gone: one clear line, what was there stays, and later it goes on."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Many, Tried
from tests.faults.commands import (
    EACH,
    LINE,
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
from tests.faults.warm import Warm
from tutelage import storage

FULL = re.compile(r"no space: (.+) (needs [\d,]+ bytes|cannot be written), [\d,]+ bytes are free there")


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory at a folder, as large as its options say."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here: only root may")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def failed(warm: Warm, words: tuple[str, ...], runs: Path, **environment: str) -> str:
    """Run a command that ends with 1 and without a traceback; returns what it said."""
    pid = warm.start(words, runs, **environment)
    code, said = warm.wait(pid), warm.said(pid)
    assert code == 1, said
    assert "Traceback" not in said
    return said


@pytest.mark.fault(9, 10)
@pytest.mark.timeout(1800)
def test_a_run_that_does_not_fit(warm: Warm, undisturbed: Hashes, tmp_path: Path, many: Many, tried: Tried) -> None:
    """Full while the study is written, a lock, a checkpoint, the finished model, or why it failed: all the same."""
    sizes = [f"size={kib}k" for kib in range(4, 2600, 40)] + [f"nr_inodes={count}" for count in range(4, 24)]
    every = [(size, environment) for size in sizes for environment in (EACH, {})]  # a checkpoint an epoch, and none
    some = [("size=8k", {}), ("size=600k", {}), ("size=1500k", EACH)]
    full, tries, kept = set(), 0, 0
    for number, (size, environment) in enumerate(every if many(0, 1) else some):
        with disk(tmp_path / f"{number}", size) as runs:
            pid = warm.start(LINE, runs, **environment)
            code, said = warm.wait(pid), warm.said(pid)
            if code == 0:
                continue
            assert code == 1, said
            assert "Traceback" not in said
            named = FULL.search(said)
            assert named, said
            path = Path(named[1]).relative_to(runs)
            full.add(f"{path.parts[0]}: {path.name}")
            assert leftovers(runs) == []
            kept = max(kept, assert_checkpoints_are_whole(runs))
            remount(runs, "size=20m,nr_inodes=10000")
            finish(warm, LINE, runs)
            assert hashes(runs) == undisturbed
            tries += 1
    assert {"models: state.safetensors", "models: weights.safetensors"} <= full
    assert any(name.startswith("studies") for name in full)
    assert kept == 2
    tried(tries, f"disks too small, among others for {', '.join(sorted(full))}")


@pytest.mark.fault(9)
def test_a_checkpoint_above_the_limit_of_a_file(warm: Warm, undisturbed: Hashes, tmp_path: Path) -> None:
    """What a quota of a user without a disk of his own looks like."""
    pid = warm.start(LINE, tmp_path, **EACH)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
    code, said = warm.wait(pid), warm.said(pid)
    assert code == 1, said
    assert re.search(r"failed: no space \(file too large\): \S+state.safetensors needs [\d,]+ bytes", said)
    assert "Traceback" not in said
    assert leftovers(tmp_path) == []
    finish(warm, LINE, tmp_path)
    assert hashes(tmp_path) == undisturbed


@pytest.mark.fault(10, 16)
def test_a_store_that_fills_its_disk_does_not_stop_the_training(
    warm: Warm, finished: Path, undisturbed: Hashes, tmp_path: Path
) -> None:
    words = (*LINE, "--teacher-store", "on")
    for model in (finished / "models").iterdir():
        if place(model) == 0:
            shutil.copytree(model, tmp_path / "models" / model.name)
    with disk(tmp_path / "teachers", "size=12k") as stores:
        said = finish(warm, words, tmp_path)
        assert re.search(
            r"warning: the teacher's logits are not kept any more: no space: \S+rows needs [\d,]+ b", said
        )
        assert hashes(tmp_path) == undisturbed
        (rows,) = stores.glob("*/rows")
        assert rows.stat().st_size == 0  # what there was room for was given back
        pupil = next(model for model in (tmp_path / "models").iterdir() if place(model) == 1)
        shutil.rmtree(pupil)
        remount(stores, "size=20m")
        assert "warning" not in finish(warm, words, tmp_path)
        assert hashes(tmp_path) == undisturbed
        assert rows.stat().st_size > 4096


@pytest.mark.fault(10)
def test_curves_that_fill_their_disk_do_not_stop_the_training(
    warm: Warm, undisturbed: Hashes, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    words = tuple("tensorboard" if word == "none" else word for word in LINE)
    with disk(tmp_path / "tensorboard", "size=4k") as curves:
        said = finish(warm, words, tmp_path)
        assert "warning: tensorboard is told no more: " in said
        assert "Traceback" not in said
        assert hashes(tmp_path) == undisturbed
        assert not list(curves.rglob("1-*/whole.txt"))
        remount(curves, "size=20m")
        assert "warning" not in finish(warm, words, tmp_path)
        assert len(list(curves.rglob("whole.txt"))) == 2


@pytest.mark.fault(10)
def test_a_report_that_does_not_fit(warm: Warm, finished: Path, tmp_path: Path) -> None:
    """Nothing of it half-written; and where one stood it stands as it was."""
    with disk(tmp_path / "pages", "size=600k") as pages:
        finish(warm, ("report", "--out", str(pages)), finished)
        (page,) = pages.glob("*.html")
        before = page.read_bytes()
        said = failed(warm, ("report", "--out", str(pages), "--confidence", "0.9"), finished)
        assert FULL.search(said.splitlines()[-1])[1] == str(page)
        assert page.read_bytes() == before
        assert {path.suffix for path in pages.iterdir()} == {".html", ".md", ".csv"}
        remount(pages, "size=2m")
        finish(warm, ("report", "--out", str(pages), "--confidence", "0.9"), finished)
        assert page.read_bytes() == before  # one arm: there is no interval to be another


@pytest.mark.fault(10)
def test_what_cannot_be_printed(finished: Path, undisturbed: Hashes, tmp_path: Path) -> None:
    """A training does not end for it, in whose place would it be read? A table that was asked for is an error."""
    (run,) = (finished / "studies").iterdir()
    command = [sys.executable, "-m", "tutelage"]
    given = {**os.environ, "TUTELAGE_RUNS": str(tmp_path)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*command, *LINE], env=given, stdout=subprocess.DEVNULL, stderr=full, check=False)
        assert done.returncode == 0
        assert hashes(tmp_path) == undisturbed
        given["TUTELAGE_RUNS"] = str(finished)
        done = subprocess.run(
            [*command, "show", run.name], env=given, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "tutelage: no space left where the output goes\n"


@pytest.mark.fault(11)
def test_a_disk_that_may_not_be_written(warm: Warm, undisturbed: Hashes, tmp_path: Path) -> None:
    """A new run, one that was begun, and one that is finished: that needs no disk, and shows its table."""
    with disk(tmp_path / "runs", "size=20m") as runs:
        remount(runs, "ro")
        said = failed(warm, LINE, runs)
        assert said.startswith("tutelage: [Errno 30] Read-only file system: ")
        assert len(said.splitlines()) == 1
        assert ".partial-" not in said

        remount(runs, "rw")
        pid = warm.start(LINE, runs, TUTELAGE_FAULT="kill@80", **EACH)
        assert warm.wait(pid) == -9
        begun = whole_checkpoints(runs)
        assert begun
        remount(runs, "ro")
        said = failed(warm, LINE, runs)
        assert re.search(r"seed 0 failed: \[Errno 30\] Read-only file system: '\S+/.lock'\n", said)
        assert "trained in" not in said
        assert whole_checkpoints(runs) == begun

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
    way = tmp_path / "there" / where
    way.parent.mkdir(parents=True, exist_ok=True)
    way.write_text("in the way")
    pid = warm.start(LINE, tmp_path / "there" / "runs")
    code, said = warm.wait(pid), warm.said(pid)
    assert code in (1, 2)
    assert f"{way} is not a folder" in said
    assert "Traceback" not in said
    assert "trained in" not in said
    assert way.read_text() == "in the way"


@pytest.mark.fault(11)
@pytest.mark.parametrize("at", ["", "stop@60"])
def test_a_folder_that_vanishes_while_it_trains(at: str, warm: Warm, undisturbed: Hashes, tmp_path: Path) -> None:
    """Between two checkpoints and within one: it is not made anew in silence."""
    runs, elsewhere = tmp_path / "runs", tmp_path / "elsewhere"
    pid = warm.start(LINE, runs, TUTELAGE_FAULT=at, **EACH)
    # Once there is a checkpoint: a folder that goes before anything is in it may well be made again.
    until(lambda: is_frozen(pid) if at else any((runs / "models").glob("*/checkpoints/*/manifest.json")))
    runs.rename(elsewhere)
    assert_gone(warm, pid, runs)
    assert not runs.exists()
    elsewhere.rename(runs)
    finish(warm, LINE, runs)
    assert hashes(runs) == undisturbed


@pytest.mark.fault(11)
def test_a_disk_that_vanishes_while_it_trains(warm: Warm, undisturbed: Hashes, tmp_path: Path) -> None:
    """What was below the place where it was mounted stays as it is. (Another one is mounted on it here.)"""
    with disk(tmp_path / "runs", "size=20m") as runs:
        pid = warm.start(LINE, runs, TUTELAGE_FAULT="stop@60", **EACH)
        until(lambda: is_frozen(pid))
        with disk(runs, "size=20m"):
            assert_gone(warm, pid, runs)
            assert list(runs.iterdir()) == []
        finish(warm, LINE, runs)
        assert hashes(runs) == undisturbed


def assert_gone(warm: Warm, pid: int, runs: Path) -> None:
    """The process ends with one line on what is wrong."""
    code, _ = end(warm, pid)
    said = warm.said(pid)
    assert code == 1, said
    assert "Traceback" not in said
    (told,) = [line for line in said.splitlines() if "failed: " in line or line.startswith("tutelage: ")]
    assert f"{runs}/models" in told
