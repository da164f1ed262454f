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

from tests.conftest import Tried
from tests.faults import small
from tests.faults.small import Request, asked, first
from tests.faults.warm import Warm
from tutelage import serialization, storage
from tutelage.analysis import compare, load_results
from tutelage.data import CropFlip, Splits
from tutelage.lineage import Stopped
from tutelage.methods.hinton import distillation
from tutelage.recipes import call
from tutelage.report import continued, markdown
from tutelage.report.page.blocks import Table
from tutelage.report.page.sections.provenance import origin
from tutelage.study import Execution, Study, load_study
from tutelage.study import run as run_study
from tutelage.training import Cosine


def schedule(**fields: Any) -> Request:
    return first(schedule=replace(small.SCHEDULE, **fields))


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
    "model": lambda: first(model="tests.faults.small:Wider"),
    "objective": lambda: Request(small.taught(objective=distillation(temperature=2.0)), small.splits()),
    "views": lambda: replace(asked(), lineage=replace(small.taught(), views=CropFlip(padding=1, flip=False))),
    "seed": lambda: replace(asked(), seed=1),
    "precision": lambda: replace(asked(), precision="bf16"),
    "a pixel": lambda: replace(asked(), data=small.splits(change=one_pixel)),
    "a label": lambda: replace(asked(), data=small.splits(change=one_label)),
    "a pixel of the test set": lambda: replace(asked(), data=small.splits(change=one_test_pixel)),
    "a class name": lambda: replace(asked(), data=small.renamed(("a", "class 1", "class 2", "class 3"))),
    "the order of classes": lambda: replace(
        asked(), data=small.renamed(("class 1", "class 0", "class 2", "class 3"))
    ),
    "fewer images": lambda: replace(asked(), data=small.splits(size=25)),
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    torch.set_num_threads(1)
    runs = tmp_path_factory.mktemp("undisturbed")
    asked().train(runs)
    return [model.weights_digest() for model in asked().models(runs)]


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)  # nothing here is about the power


@pytest.mark.fault(18)
@pytest.mark.parametrize("field", CHANGES)
def test_another_request_neither_uses_nor_touches_what_is_there(
    field: str, undisturbed: list[str], tmp_path: Path, tried: Tried
) -> None:
    """The first request is interrupted in its second model; the other one must begin at its own beginning."""
    small.interrupt(asked().lineage, asked().data, tmp_path / "runs", place=1)
    before = small.state(tmp_path / "runs")
    assert [name.rpartition("/")[2] for name in before].count("state.safetensors") == 1
    other = CHANGES[field]()
    ours, theirs = asked().models(tmp_path / "runs"), other.models(tmp_path / "runs")
    shared = field == "objective"  # that of the pupil: both have one teacher
    assert [one.address == two.address for one, two in zip(ours, theirs, strict=True)] == [shared, False]

    other.train(tmp_path / "runs")
    other.train(tmp_path / "alone")
    alone = other.models(tmp_path / "alone")
    assert [model.weights_digest() for model in theirs] == [model.weights_digest() for model in alone]
    assert [model.metrics() for model in theirs] == [model.metrics() for model in alone]
    after = small.state(tmp_path / "runs")
    assert {name: after[name] for name in before} == before

    assert asked().train(tmp_path / "runs") == ["kept", "training", "measuring", "finished"]
    assert [model.weights_digest() for model in ours] == undisturbed
    assert all("continued" not in model.made() for model in (*ours, *theirs))
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
def test_what_decides_nothing_is_no_other_request(name: str, tmp_path: Path) -> None:
    asked().train(tmp_path)
    before = small.state(tmp_path)
    assert asked().train(tmp_path, **HARMLESS[name]) == ["kept"]
    assert small.state(tmp_path) == before


@pytest.mark.fault(18)
@pytest.mark.parametrize("name", [name for name in HARMLESS if name != "threads"])
def test_what_decides_nothing_may_change_on_the_way(name: str, undisturbed: list[str], tmp_path: Path) -> None:
    small.interrupt(asked().lineage, asked().data, tmp_path, place=1)
    asked().train(tmp_path, **HARMLESS[name])
    assert [model.weights_digest() for model in asked().models(tmp_path)] == undisturbed


@pytest.mark.fault(18)
def test_the_command_leaves_the_other_model_alone(warm: Warm, tmp_path: Path) -> None:
    words = ("run", "baseline", "--train-size", "20", "--epochs", "1", "--threads", "1")

    def command(*more: str) -> str:
        pid = warm.start((*words, *more), tmp_path)
        assert warm.wait(pid) == 0, warm.said(pid)
        return warm.said(pid)

    assert "seed 0, baseline: trained in" in command("--track", "none")
    before = small.state(tmp_path / "models")
    assert "seed 0, baseline: found trained" in command("--watch-test", "--teacher-store", "auto", "--track", "none")
    assert "seed 0, baseline: trained in" in command("--lr", "0.2", "--track", "none")
    after = small.state(tmp_path / "models")
    assert {name: after[name] for name in before} == before
    assert len(after) == 2 * len(before)


def kept(tmp_path: Path) -> small.Model:
    return small.models(small.line(), small.splits(), tmp_path)[0]


@pytest.mark.fault(19)
def test_other_threads_are_said_recorded_and_shown_and_do_change_bits(tmp_path: Path) -> None:
    resnet = small.line(small.generation(model="resnet8"))
    data = small.splits()
    small.run(resnet, data, tmp_path / "alone")
    said: list[str] = []
    small.interrupt(resnet, data, tmp_path / "runs")
    small.run(resnet, data, tmp_path / "runs", threads=2, warn=said.append)
    assert said == ["only: threads was 1, now 2: not bit-exact from here"]
    (alone,), (model,) = (small.models(resnet, data, tmp_path / runs) for runs in ("alone", "runs"))
    assert model.weights_digest() != alone.weights_digest()
    assert model.made()["continued"] == [{"step": 4, "threads": [1, 2]}]
    assert "continued" not in alone.made()


@pytest.mark.fault(19)
def test_each_change_of_surroundings_is_kept_until_the_model_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = small.line(small.generation(schedule=replace(small.SCHEDULE, epochs=5)))
    data = small.splits()
    small.interrupt(long, data, tmp_path)
    small.interrupt(long, data, tmp_path, threads=2)
    small.interrupt(long, data, tmp_path, threads=2)
    monkeypatch.setattr(torch, "__version__", "2.99.0")  # only the name: there is one torch here
    small.interrupt(long, data, tmp_path)
    small.run(long, data, tmp_path)
    (model,) = small.models(long, data, tmp_path)
    torch_now = {"step": 12, "threads": [2, 1], "torch": [model.made()["continued"][1]["torch"][0], "2.99.0"]}
    assert model.made()["continued"] == [{"step": 4, "threads": [1, 2]}, torch_now]


@pytest.mark.fault(19)
def test_strict_refuses_to_continue_otherwise_and_nothing_else(tmp_path: Path) -> None:
    data = small.splits()
    small.run(small.line(), data, tmp_path / "alone")
    small.interrupt(small.line(), data, tmp_path / "runs")
    before = small.state(tmp_path / "runs")
    with pytest.raises(ValueError, match=r"only stands at step 4 and would not continue bit for bit: threads was 1"):
        small.run(small.line(), data, tmp_path / "runs", threads=2, strict=True)
    assert small.state(tmp_path / "runs") == before
    small.run(small.line(), data, tmp_path / "runs", strict=True)
    assert kept(tmp_path / "runs").weights_digest() == kept(tmp_path / "alone").weights_digest()


@pytest.mark.fault(19)
def test_a_checkpoint_that_does_not_say_what_processor_it_is_from_continues(tmp_path: Path) -> None:
    small.interrupt(small.line(), small.splits(), tmp_path)
    checkpoint = storage.checkpoints(kept(tmp_path).folder)[0].folder
    files = {name: (checkpoint / name).read_bytes() for name in storage.read_manifest(checkpoint)["files"]}
    noted = json.loads(files["surroundings.json"])
    files["surroundings.json"] = storage.json_bytes(
        {name: value for name, value in noted.items() if name not in ("instructions", "continued")}
    )
    storage.commit(checkpoint, files)
    small.run(small.line(), small.splits(), tmp_path, strict=True)
    assert kept(tmp_path).finished


QUICK = ("--train-size", "20", "--epochs", "2", "--test-size", "100")


def begun(runs: Path) -> Study:
    """A run of the command that stopped after its first epoch."""
    study = Study(lineages=(call("baseline", train_size=20, epochs=2, test_size=100),))
    phases: list[str] = []
    events = run_study(study, runs=runs, machine=ONE, should_stop=lambda: "training" in phases)
    with pytest.raises(Stopped):
        phases.extend(event.phase for event in events)
    return study


ONE = Execution(device="cpu", precision="fp32", threads=1)


@pytest.mark.fault(19)
def test_the_command_says_it_shows_it_and_refuses_it_when_strict(warm: Warm, tmp_path: Path) -> None:
    study = begun(tmp_path)
    before = small.state(tmp_path / "models")
    words = ("run", "baseline", *QUICK, "--precision", "fp32", "--threads", "2", "--track", "none")
    pid = warm.start((*words, "--strict"), tmp_path)
    assert warm.wait(pid) == 1
    assert "failed: baseline stands at step 1 and would not continue bit for bit: threads was 1, now 2" in warm.said(
        pid
    )
    assert small.state(tmp_path / "models") == before

    pid = warm.start(words, tmp_path)
    assert warm.wait(pid) == 0, warm.said(pid)
    assert "seed 0 warning: baseline: threads was 1, now 2: not bit-exact from here" in warm.said(pid)
    line = "not bit for bit: baseline, baseline, seed 0, from step 2 on: threads 1 -> 2"
    pid = warm.start(("show", study.name), tmp_path)
    assert warm.wait(pid) == 0
    assert line in warm.said(pid)
    results = load_results(study.name, tmp_path)
    assert continued(results) == [line]
    assert line.replace(">", r"\>") in markdown(compare(results))
    (made,) = [
        part for part in origin(compare(results)).blocks if isinstance(part, Table) and part.name == "made-with"
    ]
    assert tuple(line.split(": ", 1)) in made.rows


@pytest.mark.fault(19)
def test_a_processor_with_other_instructions(tmp_path: Path) -> None:
    ours = torch.backends.cpu.get_cpu_capability()
    if ours == "DEFAULT":
        pytest.skip("torch uses no special instructions here")
    begun(tmp_path / "runs")
    words = ("run", "baseline", *QUICK, "--precision", "fp32", "--threads", "1", "--track", "none")
    told = {"ATEN_CPU_CAPABILITY": "default", "TUTELAGE_RUNS": str(tmp_path / "runs"), "COLUMNS": "160"}
    command = [sys.executable, "-m", "tutelage", *words]
    done = subprocess.run(command, env=os.environ | told, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert f"baseline: instructions was {ours}, now DEFAULT: not bit-exact from here" in done.stderr
    assert f"from step 2 on: instructions {ours} -> DEFAULT" in done.stdout


@pytest.mark.fault(18, 19)
def test_a_run_that_would_now_be_of_other_models_says_so(tmp_path: Path) -> None:
    """On a machine without bf16, or on images that were changed on disk, the same words mean another request."""
    study = begun(tmp_path)
    other = replace(ONE, precision="bf16")
    with pytest.raises(ValueError, match=r"begun otherwise \(precision was fp32, now bf16\).* strict refuses"):
        list(run_study(study, runs=tmp_path, machine=replace(other, strict=True)))
    assert load_study(study.name, tmp_path).precision == "fp32"
    before = small.state(tmp_path / "models")
    first, *_ = run_study(study, runs=tmp_path, machine=other)
    assert first.phase == "warning"
    assert first.text == (
        "this run was begun otherwise (precision was fp32, now bf16): these are other models, and those of then "
        "stay as they are"
    )
    after = small.state(tmp_path / "models")
    assert {name: after[name] for name in before} == before
    written = load_study(study.name, tmp_path)
    storage.commit(
        tmp_path / "studies" / study.name,
        {"study.json": storage.json_bytes(serialization.to_json(replace(written, fingerprints=("f" * 64,))))},
    )
    first, *_ = run_study(study, runs=tmp_path, machine=other)
    assert "baseline: the images of digits are others now" in first.text
