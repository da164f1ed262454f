"""Another request is another model, under another address; the same one elsewhere says that bits may differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import Tried, limit
from tests.events import kind
from tests.faults import small
from tests.faults.small import Request, default_request, request_with_teacher
from tests.warm import Warm
from tutelage import serialization, storage
from tutelage.analysis import compare, load_results
from tutelage.data import CropFlip, Splits
from tutelage.lineage import Stopped, TrainOptions
from tutelage.methods.hinton import distillation
from tutelage.recipes import call
from tutelage.report.comparison import comparison_markdown
from tutelage.report.page.sections.reproducibility import reproducibility
from tutelage.report.remarks import continued
from tutelage.report.table import Table
from tutelage.study import Execution, Study, Warned, load_study
from tutelage.study import run as run_study
from tutelage.training import Cosine


def schedule(**fields: Any) -> Request:
    return request_with_teacher(schedule=replace(small.SCHEDULE, **fields))


def one_pixel(data: Splits) -> None:
    data.train.images[7, 0, 3, 3] ^= 1


def one_label(data: Splits) -> None:
    data.train.labels[7] = (data.train.labels[7] + 1) % 4


def one_test_pixel(data: Splits) -> None:
    data.test.images[0, 0, 0, 0] ^= 1


CHANGES: dict[str, Callable[[], Request]] = {
    "lr": lambda: schedule(lr=0.06),
    "epochs": lambda: schedule(epochs=3),
    "batch size": lambda: schedule(batch_size=7),
    "decay": lambda: schedule(decay=Cosine()),
    "momentum": lambda: schedule(momentum=0.8),
    "nesterov": lambda: schedule(nesterov=False),
    "weight decay": lambda: schedule(weight_decay=0.0),
    "model": lambda: request_with_teacher(model="tests.faults.small:Wider"),
    "objective": lambda: Request(small.teacher_and_student(objective=distillation(temperature=2.0)), small.splits()),
    "views": lambda: replace(
        default_request(), lineage=replace(small.teacher_and_student(), views=CropFlip(padding=1, flip=False))
    ),
    "seed": lambda: replace(default_request(), seed=1),
    "precision": lambda: replace(default_request(), precision="bf16"),
    "a pixel": lambda: replace(default_request(), data=small.splits(change=one_pixel)),
    "a label": lambda: replace(default_request(), data=small.splits(change=one_label)),
    "a pixel of the test set": lambda: replace(default_request(), data=small.splits(change=one_test_pixel)),
    "a class name": lambda: replace(
        default_request(), data=small.with_class_names(("a", "class 1", "class 2", "class 3"))
    ),
    "the order of classes": lambda: replace(
        default_request(), data=small.with_class_names(("class 1", "class 0", "class 2", "class 3"))
    ),
    "fewer images": lambda: replace(default_request(), data=small.splits(size=25)),
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    torch.set_num_threads(1)
    runs = tmp_path_factory.mktemp("undisturbed")
    default_request().train(runs)
    return [model.weights_digest() for model in default_request().models(runs)]


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)  # nothing here is about the power


@pytest.mark.fault(18)
@pytest.mark.parametrize("field", CHANGES)
def test_another_request_neither_uses_nor_changes_existing_models(
    field: str, undisturbed: list[str], tmp_path: Path, tried: Tried
) -> None:
    """The first request is interrupted in its second model; the other one must start from scratch."""
    small.interrupt(default_request().lineage, default_request().data, tmp_path / "runs", place=1)
    before = small.state(tmp_path / "runs")
    assert [name.rpartition("/")[2] for name in before].count("state.safetensors") == 1
    other = CHANGES[field]()
    ours, theirs = default_request().models(tmp_path / "runs"), other.models(tmp_path / "runs")
    shared = field == "objective"  # that of the student: the teacher is the same
    assert [one.address == two.address for one, two in zip(ours, theirs, strict=True)] == [shared, False]

    other.train(tmp_path / "runs")
    other.train(tmp_path / "alone")
    alone = other.models(tmp_path / "alone")
    assert [model.weights_digest() for model in theirs] == [model.weights_digest() for model in alone]
    assert [model.metrics() for model in theirs] == [model.metrics() for model in alone]
    after = small.state(tmp_path / "runs")
    assert {name: after[name] for name in before} == before

    assert default_request().train(tmp_path / "runs") == ["stored", "training", "measuring", "finished"]
    assert [model.weights_digest() for model in ours] == undisturbed
    assert all("continued" not in model.provenance() for model in (*ours, *theirs))
    tried(1, f"another {field}: another address, both models as if alone")


HARMLESS: dict[str, dict[str, Any]] = {
    "threads": {"threads": 2},
    "checkpoints": {"checkpoint_seconds": 0.0},
    "the test set watched": {"watch_test": True},
    "gradient shares": {"meter": True},
    "a teacher store": {"teacher_store": "on"},
    "strictness": {"strict": True},
}


@pytest.mark.fault(18)
@pytest.mark.parametrize("name", HARMLESS)
def test_options_without_effect_do_not_change_the_request(name: str, tmp_path: Path) -> None:
    default_request().train(tmp_path)
    before = small.state(tmp_path)
    assert default_request().train(tmp_path, **HARMLESS[name]) == ["stored"]
    assert small.state(tmp_path) == before


@pytest.mark.fault(18)
@pytest.mark.parametrize("name", [name for name in HARMLESS if name != "threads"])
def test_options_without_effect_may_change_on_resuming(name: str, undisturbed: list[str], tmp_path: Path) -> None:
    small.interrupt(default_request().lineage, default_request().data, tmp_path, place=1)
    default_request().train(tmp_path, **HARMLESS[name])
    assert [model.weights_digest() for model in default_request().models(tmp_path)] == undisturbed


@pytest.mark.fault(18)
def test_the_command_leaves_the_other_model_alone(warm: Warm, tmp_path: Path) -> None:
    words = ("run", "baseline", "--train-size", "20", "--epochs", "1", "--threads", "1")

    def command(*more: str) -> str:
        pid = warm.start((*words, *more), tmp_path)
        assert warm.wait(pid) == 0, warm.output(pid)
        return warm.output(pid)

    assert "seed 0, baseline: trained in" in command("--track", "none")
    before = small.state(tmp_path / "models")
    assert "seed 0, baseline: already trained" in command(
        "--watch-test", "--teacher-store", "auto", "--track", "none"
    )
    assert "seed 0, baseline: trained in" in command("--lr", "0.2", "--track", "none")
    after = small.state(tmp_path / "models")
    assert {name: after[name] for name in before} == before
    assert len(after) == 2 * len(before)


def only_model(tmp_path: Path) -> small.Model:
    return small.models(small.line(), small.splits(), tmp_path)[0]


@pytest.mark.fault(19)
def test_other_threads_are_reported_and_recorded_and_change_bits(tmp_path: Path) -> None:
    threaded = small.line(small.generation(model="tests.faults.networks:Threaded"))
    data = small.splits()
    small.run(threaded, data, tmp_path / "alone")
    warnings: list[str] = []
    small.interrupt(threaded, data, tmp_path / "runs")
    small.run(threaded, data, tmp_path / "runs", threads=2, warn=warnings.append)
    assert warnings == ["only: threads was 1, now 2: not bit-exact from here"]
    (alone,), (model,) = (small.models(threaded, data, tmp_path / runs) for runs in ("alone", "runs"))
    assert model.weights_digest() != alone.weights_digest()
    assert model.provenance()["continued"] == [{"step": 4, "threads": [1, 2]}]
    assert "continued" not in alone.provenance()


@pytest.mark.fault(19)
def test_each_change_of_environment_is_recorded_until_the_model_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = small.line(small.generation(schedule=replace(small.SCHEDULE, epochs=5)))
    data = small.splits()
    small.interrupt(long, data, tmp_path)
    small.interrupt(long, data, tmp_path, threads=2)
    small.interrupt(long, data, tmp_path, threads=2)
    monkeypatch.setattr(torch, "__version__", "2.99.0")  # only the version string: one torch is installed
    small.interrupt(long, data, tmp_path)
    small.run(long, data, tmp_path)
    (model,) = small.models(long, data, tmp_path)
    torch_now = {"step": 12, "threads": [2, 1], "torch": [model.provenance()["continued"][1]["torch"][0], "2.99.0"]}
    assert model.provenance()["continued"] == [{"step": 4, "threads": [1, 2]}, torch_now]


@pytest.mark.fault(19)
def test_strict_only_refuses_to_resume_in_another_environment(tmp_path: Path) -> None:
    data = small.splits()
    small.run(small.line(), data, tmp_path / "alone")
    small.interrupt(small.line(), data, tmp_path / "runs")
    before = small.state(tmp_path / "runs")
    with pytest.raises(ValueError, match=r"only stands at step 4 and would not continue bit for bit: threads was 1"):
        small.run(small.line(), data, tmp_path / "runs", threads=2, strict=True)
    assert small.state(tmp_path / "runs") == before
    small.run(small.line(), data, tmp_path / "runs", strict=True)
    assert only_model(tmp_path / "runs").weights_digest() == only_model(tmp_path / "alone").weights_digest()


@pytest.mark.fault(19)
def test_a_checkpoint_without_processor_instructions_resumes(tmp_path: Path) -> None:
    small.interrupt(small.line(), small.splits(), tmp_path)
    checkpoint = storage.checkpoints(only_model(tmp_path).folder)[0].folder
    manifest = storage.read_manifest(checkpoint)
    files = {name: (checkpoint / name).read_bytes() for name in manifest["files"]}
    noted = json.loads(files["environment.json"])
    files["environment.json"] = storage.json_bytes(
        {name: value for name, value in noted.items() if name not in ("instructions", "continued")}
    )
    storage.commit(checkpoint, files, manifest["note"])
    small.run(small.line(), small.splits(), tmp_path, strict=True)
    assert only_model(tmp_path).finished


QUICK = ("--train-size", "20", "--epochs", "2", "--test-size", "100")


def interrupted_run(runs: Path) -> Study:
    """A run that was stopped after its first epoch."""
    study = Study(lineages=(call("baseline", train_size=20, epochs=2, test_size=100),))
    phases: list[str] = []
    events = run_study(study, runs=runs, execution=ONE, should_stop=lambda: "training" in phases)
    with pytest.raises(Stopped):
        phases.extend(kind(event) for event in events)
    return study


ONE = Execution(device="cpu", precision="fp32", threads=1)


@pytest.mark.fault(19)
def test_the_command_warns_shows_and_with_strict_refuses(warm: Warm, tmp_path: Path) -> None:
    study = interrupted_run(tmp_path)
    before = small.state(tmp_path / "models")
    words = ("run", "baseline", *QUICK, "--precision", "fp32", "--threads", "2", "--track", "none")
    pid = warm.start((*words, "--strict"), tmp_path)
    assert warm.wait(pid) == 1
    assert (
        "failed: baseline stands at step 1 and would not continue bit for bit: threads was 1, now 2"
        in warm.output(pid)
    )
    assert small.state(tmp_path / "models") == before

    pid = warm.start(words, tmp_path)
    assert warm.wait(pid) == 0, warm.output(pid)
    assert "seed 0 warning: baseline: threads was 1, now 2: not bit-exact from here" in warm.output(pid)
    line = "not bit for bit: baseline, baseline, seed 0, from step 2 on: threads 1 -> 2"
    pid = warm.start(("show", study.name), tmp_path)
    assert warm.wait(pid) == 0
    assert line in warm.output(pid)
    results = load_results(study.name, tmp_path)
    assert continued(results) == [line]
    assert line.replace(">", r"\>") in comparison_markdown(compare(results))
    blocks = reproducibility(compare(results)).blocks
    (table,) = [block for block in blocks if isinstance(block, Table) and block.name == "made-with"]
    assert tuple(line.split(": ", 1)) in {tuple(cell.text for cell in row) for row in table.rows}


@pytest.mark.fault(19)
def test_a_processor_with_other_instructions(tmp_path: Path) -> None:
    ours = torch.backends.cpu.get_cpu_capability()
    if ours == "DEFAULT":
        pytest.skip("torch uses no special instructions here")
    interrupted_run(tmp_path / "runs")
    words = ("run", "baseline", *QUICK, "--precision", "fp32", "--threads", "1", "--track", "none")
    variables = {"ATEN_CPU_CAPABILITY": "default", "TUTELAGE_RUNS": str(tmp_path / "runs"), "COLUMNS": "160"}
    command = [sys.executable, "-m", "tutelage", *words]
    completed = subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, check=False, timeout=limit(100)
    )
    assert completed.returncode == 0, completed.stderr
    assert f"baseline: instructions was {ours}, now DEFAULT: not bit-exact from here" in completed.stderr
    assert f"from step 2 on: instructions {ours} -> DEFAULT" in completed.stdout


@pytest.mark.fault(18, 19)
def test_a_run_that_would_now_train_other_models_warns(tmp_path: Path) -> None:
    """On a machine without bf16, or with images changed on disk, the same command is another request."""
    study = interrupted_run(tmp_path)
    other = replace(ONE, precision="bf16")
    with pytest.raises(ValueError, match=r"was started \(precision was fp32, now bf16\).* strict refuses"):
        list(run_study(study, runs=tmp_path, execution=other, options=TrainOptions(strict=True)))
    assert load_study(study.name, tmp_path).precision == "fp32"
    before = small.state(tmp_path / "models")
    first_event, *_ = run_study(study, runs=tmp_path, execution=other)
    assert isinstance(first_event, Warned)
    assert first_event.message == (
        "settings changed since this run was started (precision was fp32, now bf16): new models will be trained; "
        "the existing ones are kept"
    )
    after = small.state(tmp_path / "models")
    assert {name: after[name] for name in before} == before
    record = load_study(study.name, tmp_path)
    storage.commit(
        tmp_path / "studies" / study.name,
        {"study.json": storage.json_bytes(serialization.to_json(replace(record, fingerprints=("f" * 64,))))},
    )
    first_event, *_ = run_study(study, runs=tmp_path, execution=other)
    assert isinstance(first_event, Warned)
    assert "baseline: the images of digits have changed" in first_event.message
