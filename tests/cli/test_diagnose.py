"""``tutelage diagnose`` as a user meets it: on real small runs, once and again, and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import get_args

import pytest

from tests.cli.conftest import Command, InProcess
from tests.coarse_set import make_coarse_set
from tutelage import storage
from tutelage.analysis.diagnostics.catalog import DIAGNOSTICS, NEED_LABELS
from tutelage.cli.commands.diagnose import Diagnostic
from tutelage.study import studies

ADJUSTED = ("knowledge_adjustment", "--teacher", "resnet8", "--epochs", "1", "--train-size", "60", "--threads", "1")


def kept(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder / "runs" / "measured").glob("*/*.safetensors")}


def test_a_run_on_digits(tutelage: Command, in_process: InProcess, tmp_path: Path) -> None:
    assert in_process("run", *ADJUSTED)[0] == 0
    (name,) = studies(tmp_path / "runs")
    words = ("diagnose", name, "--markdown", "deep/d.md", "--csv", "d.csv", "--ensemble", "0,1", "--ensemble", "1:*")
    first = tutelage(*words)
    assert first.returncode == 0, first.stderr
    assert "2 of 2 models" in first.stderr
    for title in (
        "Energy on the training images",
        "shifted(teacher)",
        "Reliability",
        "No superclasses (coarse labels)",
    ):
        assert title in first.stdout
    page = (tmp_path / "deep" / "d.md").read_text()
    assert f"tutelage diagnose {name} --ensemble 0,1 --ensemble '1:*'\n" in page
    lines = list(csv.DictReader((tmp_path / "d.csv").read_text().splitlines()))
    assert {line["diagnostic"] for line in lines} == set(DIAGNOSTICS) - {"coarse", "temperatures"}
    changed = [line for line in lines if line["diagnostic"] == "targets"]
    assert len(changed) == 10
    assert all(line["changed"] == line["wrong"] for line in changed)
    assert any(float(line["wrong"]) > 0 for line in changed)

    before = kept(tmp_path)
    assert len(before) == 3  # two models and the labels
    code, out, err = in_process(*words)
    assert (code, out, err) == (0, first.stdout, "")
    assert kept(tmp_path) == before

    damaged = next(path for path in before if len(path.parent.name) == 24)
    damaged.write_bytes(b"")
    code, out, err = in_process(*words)
    assert (code, out) == (0, first.stdout)
    assert "1 of 1 models" in err


def test_a_set_with_superclasses(in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_coarse_set(tmp_path / "data", monkeypatch)
    quick = ("--data", "cifar100", "--model", "resnet8", "--epochs", "1", "--batch-size", "16", "--threads", "1")
    code, _, err = in_process("run", "dynamic_temperature", "--teacher", "resnet8", *quick)
    assert code == 0, err
    (name,) = studies(tmp_path / "runs")
    code, out, err = in_process("diagnose", name, "--only", "coarse", "second", "temperatures", "--seed", "0")
    assert code == 0, err
    assert "Dist^C (ours)" in out
    assert "in superclass" in out
    assert "\x1b" not in out
    assert "at the floor" in out
    assert "Energy" not in out

    code, out, err = in_process("diagnose", name, "--only", "calibration", "--ensemble", "teacher,student")
    assert (code, err) == (0, "")
    assert "Ensembles" in out

    storage.remove(tmp_path / "data" / "cifar100")
    code, out, err = in_process("diagnose", name)
    assert code == 0, err  # all was kept


def test_without_its_images_a_run_still_has_most(
    in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_coarse_set(tmp_path / "data", monkeypatch)
    quick = ("--data", "cifar100", "--model", "resnet8", "--epochs", "1", "--batch-size", "16", "--threads", "1")
    assert in_process("run", "baseline", *quick)[0] == 0
    (name,) = studies(tmp_path / "runs")
    storage.remove(tmp_path / "data" / "cifar100")
    code, out, err = in_process("diagnose", name)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "run `tutelage data get cifar100`" in err
    rest = err.rpartition("--only ")[2].split()
    assert set(rest) == set(DIAGNOSTICS) - NEED_LABELS
    code, out, err = in_process("diagnose", name, "--only", *rest)
    assert (code, err) == (0, "")
    assert not (tmp_path / "runs" / "measured").exists()


@pytest.fixture
def finished(in_process: InProcess, tmp_path: Path) -> str:
    assert in_process("run", "baseline", "--epochs", "1", "--train-size", "20", "--threads", "1")[0] == 0
    (name,) = studies(tmp_path / "runs")
    return name


def test_mistakes_are_one_line_and_exit_code_2(in_process: InProcess, tmp_path: Path, finished: str) -> None:
    for words, message in (
        ((), "RUN"),
        (("baselin-digits",), f"unknown run 'baselin-digits': did you mean {finished}?"),
        ((finished, "--seed", "3"), "the run has no seed 3: choose from 0"),
        ((finished, "--seed", "first"), "--seed"),
        ((finished, "--ensemble", "0,1"), "unknown generation of baseline '1': choose from 0, baseline"),
        ((finished, "--only", "energi"), 'Did you mean "energy"?'),
        ((finished, "--csv", "."), ". is a folder: expected a file to write"),
        ((finished, "--runs", "nowhere"), "no run named"),
    ):
        code, out, err = in_process("diagnose", *words)
        assert (code, out) == (2, ""), words
        assert message in err
        assert len(err.splitlines()) == 1
    assert not (tmp_path / "runs" / "measured").exists()


def test_a_run_that_has_nothing_yet(in_process: InProcess, tmp_path: Path, finished: str) -> None:
    for folder in (tmp_path / "runs" / "models").iterdir():
        storage.remove(folder)
    code, out, err = in_process("diagnose", finished)
    assert (code, out) == (2, "")
    assert err == "tutelage: no model of the run is finished yet: run its command again to continue it\n"


def test_help_names_all_diagnostics(in_process: InProcess) -> None:
    assert get_args(Diagnostic) == DIAGNOSTICS
    said = in_process("diagnose", "--help")[1]
    assert all(name in said for name in DIAGNOSTICS)
    assert "diagnose" in in_process("--help")[1]
