"""The command and Python are one: the same plan, and a clear error where a script starts itself again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tutelage
from tests.cli.conftest import InProcess
from tests.conftest import limit
from tutelage import api
from tutelage.api import training
from tutelage.lineage import TrainOptions
from tutelage.study import Event, Execution, studies

QUICK = {"epochs": 1, "train_size": 20}


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ((), {}),
        (("--seeds", "0", "1"), {"seeds": (0, 1)}),
        (("--seeds", "0", "1", "2", "--processes", "2"), {"seeds": (0, 1, 2), "processes": 2}),
        (
            ("--seeds", "4", "5", "--device", "cpu", "--precision", "fp32", "--threads", "3", "--strict", "--meter"),
            {"seeds": [4, 5], "device": "cpu", "precision": "fp32", "threads": 3, "strict": True, "meter": True},
        ),
        (("--watch-test", "--teacher-store", "auto"), {"watch_test": True, "teacher_store": "auto"}),
    ],
)
def test_both_end_in_the_same_plan(
    words: tuple[str, ...],
    arguments: dict[str, Any],
    in_process: InProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requests = []

    def run(study: object, **request: Any) -> Iterator[Event]:
        options = ("runs", "execution", "options")
        requests.append([study, *(request[option] for option in options)])
        raise ValueError("planned")

    monkeypatch.setattr(training, "run_study", run)
    code, _, error = in_process("run", "baseline", "--epochs", "1", "--runs", "here", "--track", "none", *words)
    assert (code, error) == (2, "tutelage: planned\n")
    with pytest.raises(ValueError, match="planned"):
        tutelage.run("baseline", epochs=1, runs="here", **arguments)
    with pytest.raises(ValueError, match="planned"):
        api.study(["baseline"], epochs=1, runs="here", **arguments)
    from_command, from_python, from_study = requests
    assert from_command == from_python == from_study
    _, _, execution, options = from_command
    assert isinstance(execution, Execution)
    assert isinstance(options, TrainOptions)


GUARDED = """
if __name__ == "__main__":
    import tutelage
    results = tutelage.run("baseline", seeds=(0, 1), epochs=1, train_size=20, runs="runs", threads=1)
    print(sorted(results.generations[0].seeds))
"""
UNGUARDED = """
import tutelage
try:
    one = tutelage.run("baseline", epochs=1, train_size=20, runs="runs", threads=1)
    tutelage.run("baseline", seeds=(1, 2, 3), epochs=1, train_size=20, runs="runs", processes=2)
finally:
    print("after")
"""


def script(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(code)
    return subprocess.run(
        [sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, check=False, timeout=limit(120)
    )


def test_seeds_run_in_processes(tmp_path: Path) -> None:
    done = script(GUARDED, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0, 1]\n", "")


def test_a_script_that_starts_itself_again_is_told_so_once(tmp_path: Path) -> None:
    done = script(UNGUARDED, tmp_path)
    assert done.returncode == 1
    assert done.stdout == "after\n"  # the processes of the seeds end before they get anywhere
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.splitlines()[-1] == (
        "RuntimeError: seeds run in processes of their own, and each imports the calling script: put what trains "
        'under `if __name__ == "__main__":`, or ask for processes=1'
    )
    names = studies(tmp_path / "runs")
    assert len(names) == 2
    assert len(list((tmp_path / "runs" / "models").glob("*/manifest.json"))) == 1


def test_a_failed_seed_raises_after_the_others_are_done(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^seed 0: .*not finite; seed 1: .*not finite"):
        tutelage.run("baseline", lr=1e20, seeds=(0, 1), processes=1, runs=tmp_path, **QUICK)
    arms = [{"recipe": "baseline", "lr": 1e20, "name": "wild"}, "baseline"]
    comparison = api.study(arms, runs=tmp_path, confidence=0.9, **QUICK)
    assert [len(arm.measures) for arm in comparison.arms] == [0, 1]
    assert [(failure.arm, failure.seed) for failure in comparison.results.failures] == [("wild", 0)]
    assert comparison.confidence == 0.9


def test_the_package_offers_the_verbs_that_are_no_packages() -> None:
    assert set(tutelage.__all__) < set(api.__all__)
    for name in tutelage.__all__:
        assert getattr(tutelage, name) is getattr(api, name)
    with pytest.raises(AttributeError, match="no attribute 'compare'"):
        tutelage.compare  # noqa: B018
