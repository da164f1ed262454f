"""A second command beside a running one: what it may write, whom it waits for, and what it says."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import InProcess
from tests.faults.commands import says, until
from tests.warm import Warm
from tutelage import storage
from tutelage.analysis import compare, load_results
from tutelage.lineage import Finished
from tutelage.recipes import call
from tutelage.report.comparison import failures as reasons
from tutelage.storage import locks
from tutelage.study import Event, Execution, Failed, Study, run
from tutelage.study.files import Failure, load_failures, write_failures

ONE = Execution(device="cpu", precision="fp32", threads=1)
QUICK = {"epochs": 1, "train_size": 20}
WORDS = ("--epochs", "1", "--train-size", "20", "--precision", "fp32", "--threads", "1", "--track", "none")


def begin(study: Study, runs: Path, command: str = "") -> Iterator[Event]:
    """A run of a study that has reached its first event, and goes on as it is read."""
    events = run(study, runs=runs, execution=ONE, command=command)
    next(events)
    return events


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.mark.fault(14)
def test_a_refused_command_writes_nothing_into_the_study(in_process: InProcess, tmp_path: Path) -> None:
    """Neither that it was refused, nor its options, nor an empty list in place of the reasons that are there."""
    runs = tmp_path / "runs"
    study = Study(lineages=(call("baseline", **QUICK),), seeds=(0, 1))
    first = begin(study, runs, "the first command")
    folder = runs / "studies" / study.name
    write_failures(study.name, [Failure(seed=0, arm="baseline", message="a reason of the running one")], runs)
    before, others = content(folder), sorted(path.name for path in runs.rglob("*"))

    code, out, error = in_process("run", "baseline", *WORDS, "--seeds", "0", "1", "--watch-test", "--processes", "1")
    assert (code, out) == (1, "")
    assert error.startswith(f"tutelage: {folder} is in use by process {os.getpid()} on ")
    assert len(error.splitlines()) == 1
    assert content(folder) == before
    assert sorted(path.name for path in runs.rglob("*")) == others

    assert [event for event in first if isinstance(event, Failed)] == []
    results = load_results(study.name, runs)
    assert (results.command, results.watch_test, results.failures) == ("the first command", False, ())


@pytest.mark.fault(14)
def test_a_reason_ends_when_another_study_has_trained_the_model(tmp_path: Path) -> None:
    """The arm of a second study was refused, since the first trained its model: by now it is there."""
    baseline = call("baseline", **QUICK)
    one, other = Study(lineages=(baseline,)), Study(lineages=(baseline, call("label_smoothing", **QUICK)))
    first = begin(one, tmp_path)
    events = list(run(other, runs=tmp_path, execution=ONE))
    (refused,) = [event for event in events if isinstance(event, Failed)]
    assert refused.arm == "baseline"
    assert f"is in use by process {os.getpid()} on " in refused.message
    assert len(load_results(other.name, tmp_path).failures) == 1
    assert isinstance(list(first)[-1], Finished)
    results = load_results(other.name, tmp_path)
    assert (results.failures, reasons(compare(results))) == ((), [])
    assert len(load_failures(other.name, tmp_path)) == 1


def test_a_reason_of_a_whole_seed_ends_with_its_last_arm(tmp_path: Path) -> None:
    study = Study(lineages=(call("baseline", **QUICK), call("label_smoothing", **QUICK)))
    list(run(replace(study, lineages=study.lineages[:1]), runs=tmp_path, execution=ONE))
    first = begin(study, tmp_path)
    write_failures(study.name, [Failure(seed=0, arm="", message="its process ended with signal 9")], tmp_path)
    assert len(load_results(study.name, tmp_path).failures) == 1
    list(first)
    write_failures(study.name, [Failure(seed=0, arm="", message="its process ended with signal 9")], tmp_path)
    assert load_results(study.name, tmp_path).failures == ()


@pytest.mark.fault(14)
def test_who_waits_says_for_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "ANNOUNCE_SECONDS", 0.0)
    with storage.lock(tmp_path):
        (tmp_path / ".lock").write_text("process 7 on a\x1b[2Jmachine since 2026-01-02 03:04:05")
        with pytest.raises(storage.InUse), storage.lock(tmp_path, wait=0.12):
            pass
    (record,) = caplog.records
    assert record.getMessage() == (
        f"waiting for process 7 on a\\x1b[2Jmachine since 2026-01-02 03:04:05, which uses {tmp_path}, for up to 0 s: "
        "wait, end that process to go on at once, or stop this one (Ctrl-C) and repeat it later"
    )
    caplog.clear()
    with storage.lock(tmp_path), pytest.raises(storage.InUse), storage.lock(tmp_path, wait=0.0):
        pass
    assert caplog.records == []  # who does not wait ends with the same words


@pytest.mark.fault(14)
def test_an_import_that_waits_prints_so(warm: Warm, tmp_path: Path) -> None:
    """As diagnose, transfer, get and the stores of teachers do, by the same lock; it goes on once that is free."""
    (tmp_path / "archive.tar.gz").write_bytes(b"no archive")
    words = ("data", "import", "cifar10", str(tmp_path / "archive.tar.gz"))
    with storage.lock(tmp_path / "cifar10"):
        start = time.monotonic()
        pid = warm.start(words, tmp_path / "runs", TUTELAGE_DATA=str(tmp_path))
        until(lambda: says(warm, pid, "waiting for process "))
        assert time.monotonic() - start >= locks.ANNOUNCE_SECONDS
        assert warm.ended(pid) is None
    assert warm.wait(pid) == 2
    waiting, refused = warm.output(pid).splitlines()
    assert waiting.startswith(f"waiting for process {os.getpid()} on ")
    assert "for up to 60 minutes: " in waiting
    assert "archive.tar.gz" in refused


def test_a_library_of_the_user_can_silence_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="tutelage")
    with pytest.MonkeyPatch.context() as patch, storage.lock(tmp_path):
        patch.setattr(locks, "ANNOUNCE_SECONDS", 0.0)
        with pytest.raises(storage.InUse), storage.lock(tmp_path, wait=0.06):
            pass
    assert caplog.records == []
