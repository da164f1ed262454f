"""A finished run is within reach without the files that it names, from every folder: weights, and networks' code."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import InProcess
from tutelage import storage
from tutelage.analysis import load_results
from tutelage.lineage import Origins, read_origins
from tutelage.models.build import build
from tutelage.recipes import call
from tutelage.study import Execution, Study, Warned, load_study, run, studies
from tutelage.study.files import write_study

QUICK = ("--epochs", "1", "--train-size", "20", "--threads", "1", "--track", "none")
CODE = """
from tutelage.models import resnet8


def network(num_classes, in_channels):
    return resnet8(num_classes, in_channels)
"""
ONE = Execution(device="cpu", precision="fp32", threads=1)


def write_teacher(path: Path, seed: int = 0) -> None:
    path.write_bytes(storage.tensor_bytes(build("resnet8", 10, 1, seed=seed).state_dict()))


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_process: InProcess) -> InProcess:
    """Train with relative weights and a relative network; then the files are gone, and the folder is another."""
    (tmp_path / "deep").mkdir()
    write_teacher(tmp_path / "teacher.safetensors")
    (tmp_path / "mine.py").write_text(CODE)
    words = ("--teacher-weights", "teacher.safetensors", "--teacher", "resnet8", "--model", "mine.py:network")
    code, _, error = in_process("run", "distill", *words, *QUICK)
    assert code == 0, error
    (tmp_path / "teacher.safetensors").rename(tmp_path / "deep" / "moved.safetensors")
    (tmp_path / "mine.py").unlink()
    monkeypatch.chdir(tmp_path / "deep")
    return in_process


@pytest.mark.fault(45)
def test_all_that_reads_a_run(away: InProcess, tmp_path: Path) -> None:
    (name,) = studies(tmp_path / "runs")
    for words in (
        ("show", name),
        ("report", name),
        ("diagnose", name, "--only", "energy"),
        ("list", "runs"),
        ("export", f"{name}:0", "--to", "taken", "--format", "safetensors"),
    ):
        code, out, error = away(*words)
        assert code == 0, (words, error)
        if words[0] == "show":
            assert out.count("teacher") >= 1
            assert " 0 of 1 " not in out
    assert (tmp_path / "deep" / "taken" / "weights.safetensors").exists()
    assert all(
        len(generation.seeds) == 1 for generation in load_results(name, tmp_path / "runs", trust=False).generations
    )


@pytest.mark.fault(45)
def test_moved_weights_train_nothing_again(away: InProcess, tmp_path: Path) -> None:
    (tmp_path / "deep" / "mine.py").write_text(CODE)
    words = ("--teacher-weights", "moved.safetensors", "--teacher", "resnet8", "--model", "mine.py:network")
    code, _, error = away("run", "distill", *words, *QUICK)
    assert code == 0, error
    assert error.count("already trained") == 2
    assert len(studies(tmp_path / "runs")) == 2


@pytest.mark.fault(45)
def test_other_files_under_the_same_names_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New models are trained then, and the study shows these; before that it shows what it was trained with."""
    monkeypatch.chdir(tmp_path)
    write_teacher(tmp_path / "teacher.safetensors")
    (tmp_path / "mine.py").write_text(CODE)
    lineage = call(
        "distill",
        teacher_weights=("teacher.safetensors",),
        teacher=("resnet8",),
        model="mine.py:network",
        epochs=1,
        train_size=20,
    )
    study = Study(lineages=(lineage,))
    list(run(study, runs=tmp_path, execution=ONE))
    before = [one.models[0].address for one in load_results(study.name, tmp_path).generations]
    write_teacher(tmp_path / "teacher.safetensors", seed=1)
    (tmp_path / "mine.py").write_text(CODE + "# edited\n")
    results = load_results(study.name, tmp_path)
    assert [one.models[0].address for one in results.generations] == before
    assert all(one.seeds for one in results.generations)
    warned = next(event for event in run(study, runs=tmp_path, execution=ONE) if isinstance(event, Warned))
    assert "the code of mine.py:network has changed, the weights teacher.safetensors have changed" in warned.message
    list(run(study, runs=tmp_path, execution=ONE))
    after = load_results(study.name, tmp_path).generations
    assert all(one.seeds and one.models[0].address not in before for one in after)


def test_what_a_study_does_not_say_is_read(tmp_path: Path) -> None:
    """As in studies of earlier versions: the addresses are the same, from the files."""
    path = tmp_path / "teacher.safetensors"
    write_teacher(path)
    study = Study(
        lineages=(call("distill", teacher=("resnet8",), teacher_weights=(str(path),), epochs=1, train_size=20),)
    )
    origins = read_origins(study.lineages)
    assert [weights.path for weights in origins.weights] == [str(path)]
    assert origins.networks == ()
    assert origins.changes(Origins()) == Origins().changes(origins) == []
    list(run(study, runs=tmp_path / "runs", execution=ONE))
    record = load_study(study.name, tmp_path / "runs")
    assert record.origins == origins
    write_study(replace(record, origins=Origins()), tmp_path / "runs")
    assert all(one.seeds for one in load_results(study.name, tmp_path / "runs").generations)
    path.unlink()
    with pytest.raises(ValueError, match=r"no weights at .*teacher\.safetensors"):
        load_results(study.name, tmp_path / "runs")


@pytest.mark.fault(45)
def test_a_folder_of_a_model_that_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = Study(lineages=(call("baseline", epochs=1, train_size=20),))
    list(run(first, runs=tmp_path / "runs", execution=ONE))
    model = load_results(first.name, tmp_path / "runs").generations[0].models[0]
    shutil.copytree(model.folder, "teacher")
    study = Study(
        lineages=(call("distill", teacher=("resnet8",), teacher_weights=("teacher",), epochs=1, train_size=20),)
    )
    list(run(study, runs=tmp_path / "runs", execution=ONE))
    (weights,) = load_study(study.name, tmp_path / "runs").origins.weights
    assert (weights.sha256, weights.shape) == (model.weights_digest(), (1, 8, 8))
    shutil.rmtree("teacher")
    assert all(one.seeds for one in load_results(study.name, tmp_path / "runs").generations)
