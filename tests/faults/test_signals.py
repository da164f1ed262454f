"""SIGTERM and Ctrl-C in every phase of every command that takes its time: soon, with 75, and nothing half-written."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND
from tests.conftest import ARCHIVE, Tried
from tests.faults.commands import (
    EACH,
    LINE,
    LONGER,
    Hashes,
    assert_checkpoints_are_whole,
    bound,
    children,
    end,
    finish,
    hashes,
    is_frozen,
    leftovers,
    listens,
    place,
    until,
)
from tests.faults.warm import Warm
from tutelage import storage

TERM, INT = signal.SIGTERM, signal.SIGINT


def assert_stopped(said: str, code: int, seconds: float) -> None:
    assert code == 75, said
    assert "Traceback" not in said, said
    assert said.splitlines()[-1].endswith("the same command continues from there"), said
    assert seconds < bound()


@pytest.mark.fault(12)
@pytest.mark.parametrize("store", ["off", "on"])
def test_while_it_trains(
    store: str, warm: Warm, undisturbed: Hashes, finished: Path, tmp_path: Path, tried: Tried
) -> None:
    """Within the save of a checkpoint; with a store of the teacher's logits the pupil's, which fills it."""
    words = (*LINE, "--teacher-store", store)
    if store == "on":
        (patriarch,) = (model for model in (finished / "models").iterdir() if place(model) == 0)
        shutil.copytree(patriarch, tmp_path / "models" / patriarch.name)
    pid = warm.start(words, tmp_path, TUTELAGE_FAULT="stop@60", **EACH)
    until(lambda: is_frozen(pid))
    assert len(list(tmp_path.glob("teachers/*/store.json"))) == (store == "on")
    code, seconds = end(warm, pid, INT if store == "on" else TERM)
    assert_stopped(warm.said(pid), code, seconds)
    assert " stopped at step " in warm.said(pid)
    assert assert_checkpoints_are_whole(tmp_path) == 2
    assert leftovers(tmp_path) == []
    finish(warm, words, tmp_path)
    assert hashes(tmp_path) == undisturbed
    tried(1, f"signal, {seconds:.1f} s to the end")


@pytest.mark.fault(12)
def test_while_it_measures(warm: Warm, tmp_path: Path, tried: Tried) -> None:
    """After an epoch the holdout; at the end of the training all images."""
    words = (
        *("run", "baseline", "--model", "tests.faults.networks:Slow", "--epochs", "2", "--train-size", "40"),
        *("--test-size", "60", "--holdout", "12", "--threads", "1", "--track", "none"),
    )
    finish(warm, words, tmp_path / "undisturbed")
    runs, mark, longest = tmp_path / "runs", tmp_path / "mark", 0.0
    for _ in ("after the second epoch", "at the end"):
        mark.unlink(missing_ok=True)
        pid = warm.start(words, runs, SLOW_MARK=str(mark))
        until(lambda: mark.exists() and mark.stat().st_size == 2)
        code, seconds = end(warm, pid, TERM)
        assert_stopped(warm.said(pid), code, seconds)
        assert "baseline stopped while it was measured" in warm.said(pid)
        assert assert_checkpoints_are_whole(runs) == 1
        longest = max(longest, seconds)
    finish(warm, words, runs)
    assert hashes(runs) == hashes(tmp_path / "undisturbed")
    tried(2, f"signals, {longest:.1f} s to the end at the most")


READERS = {
    "report": (("report",), "reports"),
    "diagnose": (("diagnose", "RUN"), "measured"),
    "transfer": (
        ("transfer", "RUN", "--data", "digits", "--train-size", "60", "--test-size", "60", "--probe", "knn"),
        "transfer",
    ),
}


@pytest.mark.fault(12)
@pytest.mark.parametrize("verb", READERS)
def test_while_it_looks_at_what_is_finished(
    verb: str, warm: Warm, finished: Path, tmp_path: Path, tried: Tried
) -> None:
    """In the middle of a write; the same command then goes on. (How it ends is shown below, at length.)"""
    (run,) = (finished / "studies").iterdir()
    words = tuple(run.name if word == "RUN" else word for word in READERS[verb][0])
    runs = tmp_path / "runs"
    shutil.copytree(finished, runs)
    pid = warm.start(words, runs, TUTELAGE_FAULT="stop@2")
    until(lambda: is_frozen(pid))
    code, seconds = end(warm, pid, INT if verb == "diagnose" else TERM)
    assert_stopped(warm.said(pid), code, seconds)
    assert not files(runs / READERS[verb][1])
    finish(warm, words, runs)
    assert files(runs / READERS[verb][1])
    tried(1, f"signal, {seconds:.1f} s to the end")


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.name != ".lock" and path.is_file()
    }


@pytest.mark.fault(12)
def test_while_data_is_imported(warm: Warm, tmp_path: Path, tried: Tried) -> None:
    if not ARCHIVE.exists():
        pytest.skip(f"{ARCHIVE.name} is not beside the checkout")
    data = tmp_path / "data"
    pid = warm.start(("data", "import", "cifar100", str(ARCHIVE)), tmp_path, TUTELAGE_DATA=str(data))
    until((data / "cifar100" / ".lock").exists)
    code, seconds = end(warm, pid, TERM)
    assert_stopped(warm.said(pid), code, seconds)
    assert [path.name for path in (data / "cifar100").iterdir()] == [".lock"]
    tried(1, f"signal, {seconds:.1f} s to the end")


@pytest.mark.fault(12)
def test_twice_is_at_once(warm: Warm, undisturbed: Hashes, tmp_path: Path) -> None:
    """In the middle of a checkpoint: both come before the training can look at the first."""
    pid = warm.start(LINE, tmp_path, TUTELAGE_FAULT="stop@40", **EACH)
    until(lambda: is_frozen(pid))
    code, seconds = end(warm, pid, TERM, INT)
    assert code in (-TERM, -INT)
    assert seconds < bound()
    assert "Traceback" not in warm.said(pid)
    finish(warm, LINE, tmp_path)
    assert hashes(tmp_path) == undisturbed


@pytest.mark.fault(12)
@pytest.mark.parametrize("number", [TERM, INT])
def test_as_soon_as_it_listens(number: int, tmp_path: Path) -> None:
    """While the command still imports what it stands on; nothing is written then."""
    with started(LINE, tmp_path) as process:
        until(lambda: listens(process.pid))
        process.send_signal(number)
        _, said = process.communicate(timeout=bound())
    assert_stopped(said, process.returncode, 0.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(12)
def test_ctrl_c_while_the_processes_of_seeds_begin(tmp_path: Path) -> None:
    """It goes to all processes of a terminal's group, also to those that have not come to their first line."""
    with started((*LINE, "--seeds", "0", "1"), tmp_path) as process:
        until(lambda: len(children(process.pid)) == 3)  # one of them is multiprocessing's own
        os.killpg(process.pid, INT)
        _, said = process.communicate(timeout=bound())  # all who could still print are gone
    assert_stopped(said, process.returncode, 0.0)
    assert not hashes(tmp_path)


@pytest.mark.fault(12)
@pytest.mark.torture
@pytest.mark.timeout(600)
def test_the_process_of_one_seed_is_asked_to_stop(tmp_path: Path) -> None:
    """Not the command: the other seed is trained to its end, and the command says that there is more to do."""
    words = (*LONGER, "--seeds", "0", "1")
    with started(words, tmp_path, **EACH) as process:
        until(lambda: len({path.parents[2] for path in tmp_path.glob("models/*/checkpoints/*/manifest.json")}) == 2)
        os.kill(max(children(process.pid)), TERM)
        said = process.communicate()[1]
    assert_stopped(said, process.returncode, 0.0)
    assert said.count(" stopped: patriarch stopped at step ") == 1
    assert len(hashes(tmp_path)) == 2
    with started(words, tmp_path) as process:
        said = process.communicate()[1]
    assert process.returncode == 0, said
    assert len(hashes(tmp_path)) == 4


def started(words: tuple[str, ...], runs: Path, **environment: str) -> subprocess.Popen[str]:
    """A command as a user starts it, the first of a group of processes; its data are kept with its runs."""
    return subprocess.Popen(
        [*COMMAND, *words],
        env={**os.environ, "TUTELAGE_RUNS": str(runs), "TUTELAGE_DATA": str(runs), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.fault(12)
@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("phase", ["training", "store", "study", "import", *READERS])
def test_at_random_moments(phase: str, finished: Path, tmp_path: Path, tried: Tried) -> None:
    """Whole commands, from their start on, until twenty have heard the signal; what ends well ends as undisturbed."""
    tracker = "tensorboard" if importlib.util.find_spec("tensorboard") else "none"
    words, part = {
        "training": (tuple(tracker if word == "none" else word for word in LONGER), "models"),
        "store": ((*LONGER, "--teacher-store", "on"), "models"),
        "study": (
            ("study", "--arm", "baseline", "--arm", "label_smoothing", *LONGER[4:], "--seeds", "0", "1"),
            "models",
        ),
        "import": (("data", "import", "cifar100", str(ARCHIVE)), "cifar100"),
        **READERS,
    }[phase]
    if phase == "import" and not ARCHIVE.exists():
        pytest.skip(f"{ARCHIVE.name} is not beside the checkout")
    (run,) = (finished / "studies").iterdir()
    words = tuple(run.name if word == "RUN" else word for word in words)
    draw, rounds, heard, deaf, longest = random.Random(phase), 0, 0, 0, 0.0

    def fresh() -> Path:
        runs = tmp_path / f"{rounds}"
        if phase in READERS:
            shutil.copytree(finished, runs)
        return runs

    runs = fresh()
    began = time.monotonic()
    with started(words, runs) as process:
        assert process.communicate()[1] is not None
    assert process.returncode == 0
    lasts, expected = time.monotonic() - began, results(runs / part)
    while heard < 20:
        rounds += 1
        runs, code = fresh(), None
        while code != 0:
            with started(words, runs) as process:
                number = draw.choice((TERM, INT))
                if heard < 20:
                    time.sleep(draw.uniform(0.0, lasts))
                asked, listened = time.monotonic(), process.poll() is None and listens(process.pid)
                with contextlib.suppress(ProcessLookupError):
                    if heard < 20:
                        os.killpg(process.pid, number) if number == INT else process.terminate()
                said = process.communicate()[1]
                seconds, code = time.monotonic() - asked, process.returncode
            if code == 0:
                continue
            if listened:
                assert_stopped(said, code, seconds)
                heard, longest = heard + 1, max(longest, seconds)
            else:
                assert code in (75, -number)
                deaf += 1
            assert_checkpoints_are_whole(runs)
        assert results(runs / part) == expected
        shutil.rmtree(runs)
    tried(heard, f"signals at random moments ({phase}), {longest:.1f} s to the end at the most")
    tried(deaf, "signals before the command listened")


def results(folder: Path) -> object:
    """What a command computed, but for what differs from time to time: manifests say when, and how fast."""
    if folder.name == "models":
        return hashes(folder.parent)
    if folder.name in ("reports", "measured", "transfer"):
        return files(folder)
    return {name: entry["sha256"] for name, entry in storage.verify(folder)["files"].items()}
