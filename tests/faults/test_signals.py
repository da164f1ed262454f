"""SIGTERM and Ctrl-C in every phase of every long command: it exits soon, with 75, and leaves nothing half-written.

Soon means a limit on CPU seconds, since the elapsed time depends on the machine and its load.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND
from tests.conftest import ARCHIVE, Tried
from tests.faults.commands import (
    BOUND,
    EACH,
    EXACT,
    LINE,
    LONGER,
    STORED,
    assert_checkpoints_are_whole,
    children,
    end,
    ended,
    finish,
    hashes,
    is_frozen,
    leftovers,
    listens,
    place,
    until,
)
from tests.warm import Warm
from tutelage import storage

TERM, INT = signal.SIGTERM, signal.SIGINT


def assert_stopped(output: str, code: int, seconds: float) -> None:
    assert code == 75, output
    assert "Traceback" not in output, output
    assert output.splitlines()[-1].endswith("the same command continues from there"), output
    assert seconds < BOUND


@pytest.mark.fault(12)
@pytest.mark.parametrize("store", ["off", "on"])
def test_while_it_trains(store: str, warm: Warm, finished: Path, tmp_path: Path, tried: Tried) -> None:
    """While a checkpoint is saved; with a teacher store it is the student's, which fills the store."""
    words, undisturbed = LINE, finished
    if store == "on":
        words, undisturbed = STORED, tmp_path / "undisturbed"
        finish(warm, (*LINE, *EXACT), undisturbed)
        (patriarch,) = (model for model in (undisturbed / "models").iterdir() if place(model) == 0)
        shutil.copytree(patriarch, tmp_path / "runs" / "models" / patriarch.name)
    runs = tmp_path / "runs"
    pid = warm.start(words, runs, TUTELAGE_FAULT="stop@60", **EACH)
    until(lambda: is_frozen(pid))
    assert len(list(runs.glob("teachers/*/store.json"))) == (store == "on")
    code, seconds = end(warm, pid, INT if store == "on" else TERM)
    assert_stopped(warm.output(pid), code, seconds)
    assert " stopped at step " in warm.output(pid)
    assert assert_checkpoints_are_whole(runs) == 2
    assert leftovers(runs) == []
    finish(warm, words, runs)
    assert hashes(runs) == hashes(undisturbed)
    tried(1, f"signal, {seconds:.1f} s of the processor's time to the end")


@pytest.mark.fault(12)
def test_while_it_measures(warm: Warm, tmp_path: Path, tried: Tried) -> None:
    """While the holdout is measured after an epoch, or all images at the end."""
    words = (
        *("run", "baseline", "--model", "tests.faults.networks:Freezing", "--epochs", "2", "--train-size", "40"),
        *("--test-size", "60", "--holdout", "12", "--threads", "1", "--track", "none"),
    )
    finish(warm, words, tmp_path / "undisturbed")
    runs, longest = tmp_path / "runs", 0.0
    for _ in ("after the second epoch", "at the end"):
        pid = warm.start(words, runs, FREEZE="measuring@2")
        until(lambda pid=pid: is_frozen(pid))
        code, seconds = end(warm, pid, TERM)
        assert_stopped(warm.output(pid), code, seconds)
        assert "baseline stopped while it was measured" in warm.output(pid)
        assert assert_checkpoints_are_whole(runs) == 1
        longest = max(longest, seconds)
    finish(warm, words, runs)
    assert hashes(runs) == hashes(tmp_path / "undisturbed")
    tried(2, f"signals, {longest:.1f} s of the processor's time to the end at the most")


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
def test_while_it_reads_a_finished_run(verb: str, warm: Warm, finished: Path, tmp_path: Path, tried: Tried) -> None:
    """In the middle of a write; then the same command resumes (results: :func:`test_at_random_moments`)."""
    (run,) = (finished / "studies").iterdir()
    words = tuple(run.name if word == "RUN" else word for word in READERS[verb][0])
    runs = tmp_path / "runs"
    shutil.copytree(finished, runs)
    pid = warm.start(words, runs, TUTELAGE_FAULT="stop@2")
    until(lambda: is_frozen(pid))
    code, seconds = end(warm, pid, INT if verb == "diagnose" else TERM)
    assert_stopped(warm.output(pid), code, seconds)
    assert not files(runs / READERS[verb][1])
    finish(warm, words, runs)
    assert files(runs / READERS[verb][1])
    tried(1, f"signal, {seconds:.1f} s of the processor's time to the end")


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.name != ".lock" and path.is_file()
    }


@pytest.mark.fault(12)
def test_while_data_is_imported(warm: Warm, tmp_path: Path, tried: Tried) -> None:
    """The signal comes when everything is written and not yet synced."""
    if not ARCHIVE.exists():
        pytest.skip(f"{ARCHIVE.name} is not beside the checkout")
    data = tmp_path / "data"
    pid = warm.start(
        ("data", "import", "cifar100", str(ARCHIVE)), tmp_path, TUTELAGE_DATA=str(data), TUTELAGE_FAULT="stop@8"
    )
    until(lambda: is_frozen(pid))
    assert leftovers(data)
    code, seconds = end(warm, pid, TERM)
    assert_stopped(warm.output(pid), code, seconds)
    assert [path.name for path in (data / "cifar100").iterdir()] == [".lock"]
    tried(1, f"signal, {seconds:.1f} s of the processor's time to the end")


@pytest.mark.fault(12)
def test_a_second_signal_ends_it_immediately(warm: Warm, finished: Path, tmp_path: Path) -> None:
    """In the middle of a checkpoint: both signals arrive before training can react to the first."""
    pid = warm.start(LINE, tmp_path, TUTELAGE_FAULT="stop@40", **EACH)
    until(lambda: is_frozen(pid))
    code, seconds = end(warm, pid, TERM, INT)
    assert code in (-TERM, -INT)
    assert seconds < BOUND
    assert "Traceback" not in warm.output(pid)
    finish(warm, LINE, tmp_path)
    assert hashes(tmp_path) == hashes(finished)


IMPORTING = """
import os, signal, sys
from importlib.abc import MetaPathFinder

class Wait(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "tutelage.cli.app":
            os.kill(os.getpid(), signal.SIGSTOP)

sys.meta_path.insert(0, Wait())
from tutelage.cli import main
main(sys.argv[1:])
"""


@pytest.mark.fault(12)
@pytest.mark.parametrize("number", [TERM, INT])
def test_as_soon_as_there_is_a_handler(number: int, tmp_path: Path) -> None:
    """While the command still imports its dependencies (and waits for the test); nothing is written then."""
    with started(LINE, tmp_path, sys.executable, "-c", IMPORTING) as process:
        until(lambda: is_frozen(process.pid))
        assert listens(process.pid)

        def send() -> None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)

        output, seconds = ended(process, send)
    assert_stopped(output, process.returncode, seconds)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(12)
def test_ctrl_c_while_the_processes_of_seeds_start(tmp_path: Path) -> None:
    """It reaches all processes of the terminal's group, also those that have not executed a line yet."""
    endless = tuple("100000" if word == "12" else word for word in LINE)  # it cannot finish before the signal
    with started((*endless, "--seeds", "0", "1", "--processes", "2"), tmp_path) as process:
        until(lambda: len(children(process.pid)) == 3)  # one of them belongs to multiprocessing
        output, seconds = ended(process, lambda: os.killpg(process.pid, INT))  # no process is left that could print
    assert_stopped(output, process.returncode, seconds)
    assert not hashes(tmp_path)


@pytest.mark.fault(12)
@pytest.mark.torture
@pytest.mark.timeout(600)
def test_a_signal_to_the_process_of_one_seed(tmp_path: Path) -> None:
    """Only that process: the other seed finishes, and the command reports that the run is incomplete."""
    words = (*LONGER, "--seeds", "0", "1", "--processes", "2")
    with started(words, tmp_path, TUTELAGE_FAULT="stop@60", **EACH) as process:
        until(lambda: sum(map(is_frozen, children(process.pid))) == 2)
        assert len({path.parents[2] for path in tmp_path.glob("models/*/checkpoints/*/manifest.json")}) == 2
        seeds = [child for child in children(process.pid) if is_frozen(child)]
        os.kill(max(seeds), TERM)
        for seed in seeds:
            os.kill(seed, signal.SIGCONT)
        output = process.communicate()[1]
    assert_stopped(output, process.returncode, 0.0)
    assert output.count(" stopped: patriarch stopped at step ") == 1
    assert len(hashes(tmp_path)) == 2
    with started(words, tmp_path) as process:
        output = process.communicate()[1]
    assert process.returncode == 0, output
    assert len(hashes(tmp_path)) == 4


def started(words: tuple[str, ...], runs: Path, *command: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command as a user does, as the leader of a process group; its data are stored beside its runs."""
    return subprocess.Popen(
        [*(command or COMMAND), *words],
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
    """Whole commands, until twenty have handled a signal; a finished run equals an undisturbed one."""
    tracker = "tensorboard" if importlib.util.find_spec("tensorboard") else "none"
    words, part = {
        "training": (tuple(tracker if word == "none" else word for word in LONGER), "models"),
        "store": ((*LONGER, *EXACT, "--teacher-store", "on"), "models"),
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
    draw, rounds, handled, unhandled, longest = random.Random(phase), 0, 0, 0, 0.0

    def fresh() -> Path:
        runs = tmp_path / f"{rounds}"
        if phase in READERS:
            shutil.copytree(finished, runs)
        return runs

    runs = fresh()
    start = time.monotonic()
    with started(words, runs) as process:
        assert process.communicate()[1] is not None
    assert process.returncode == 0
    lasts, expected = time.monotonic() - start, results(runs / part)
    while handled < 20:
        rounds += 1
        runs, code = fresh(), None
        while code != 0:
            with started(words, runs) as process:
                number = draw.choice((TERM, INT))
                if handled < 20:
                    time.sleep(draw.uniform(0.0, lasts))
                listened, asks = process.poll() is None and listens(process.pid), handled < 20

                def send(process: subprocess.Popen[str] = process, number: int = number, asks: bool = asks) -> None:
                    with contextlib.suppress(ProcessLookupError):
                        if asks:
                            os.killpg(process.pid, number) if number == INT else process.terminate()

                output, seconds = ended(process, send)
                code = process.returncode
            if code == 0:
                continue
            if listened:
                assert_stopped(output, code, seconds)
                handled, longest = handled + 1, max(longest, seconds)
            else:
                assert code in (75, -number)
                unhandled += 1
            assert_checkpoints_are_whole(runs)
        assert results(runs / part) == expected
        shutil.rmtree(runs)
    tried(handled, f"signals at random moments ({phase}), {longest:.1f} s of the processor's time to the end")
    tried(unhandled, "signals before the command had a handler")


def results(folder: Path) -> object:
    """What a command computed, except for what varies: manifests contain times and speeds."""
    if folder.name == "models":
        return hashes(folder.parent)
    if folder.name in ("reports", "measured", "transfer"):
        return files(folder)
    return {name: entry["sha256"] for name, entry in storage.verify(folder)["files"].items()}
