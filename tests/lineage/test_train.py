"""Lineages on disk: trained once, shared, resumed, checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import Tried, make_splits
from tests.events import kind
from tutelage import storage
from tutelage.artifacts.model import Model
from tutelage.data import CropFlip, DataConfig, Splits
from tutelage.engine import Engine
from tutelage.evaluation import accuracy
from tutelage.lineage import Generation, Lineage, Stopped, TrainOptions, models_of, train
from tutelage.methods.hinton import labels_only
from tutelage.methods.tolerant import tolerant_patriarch, tolerant_student
from tutelage.objective import Objective
from tutelage.training import Schedule

WATCHED = TrainOptions(watch_test=True)
SCHEDULE = Schedule(epochs=2, batch_size=8)


def generation(name: str, objective: Objective, *teachers: int, model: str = "resnet8") -> Generation:
    return Generation(name=name, model=model, objective=objective, schedule=SCHEDULE, teachers=teachers)


def lineage(*generations: Generation, name: str = "line") -> Lineage:
    return Lineage(name=name, data=DataConfig(name="made"), views=CropFlip(padding=1), generations=generations)


def chain(length: int = 2) -> Lineage:
    later = [generation(f"g{place}", tolerant_student(), place - 1) for place in range(1, length)]
    return lineage(generation("g0", tolerant_patriarch(k=3)), *later)


def finish(line: Lineage, splits: Splits, runs: Path, seed: int = 0, **options: object) -> tuple[Model, ...]:
    engine = Engine.choose("cpu", "fp32", 1)
    for _ in train(line, seed, splits, runs=runs, engine=engine, **options):
        pass
    return models_of(line, seed, splits.fingerprint, "fp32", runs)


def weights(model: Model) -> str:
    return str(storage.verify(model.folder)["files"]["weights.safetensors"]["sha256"])


def test_what_a_finished_model_holds(splits: Splits, tmp_path: Path) -> None:
    *_, model = finish(chain(), splits, tmp_path)
    listed = storage.verify(model.folder)["files"]
    names = {"config.json", "metrics.jsonl", "weights.safetensors", "predictions.safetensors", "evaluation.json"}
    assert set(listed) == names
    assert {path.name for path in model.folder.iterdir()} == names | {"manifest.json", ".lock"}
    predictions = model.predictions()
    assert predictions["test"].shape == (12, 4)
    assert model.evaluation()["test"].top1 == accuracy(predictions["test"], splits.test.labels)
    assert len(model.metrics()) == 2
    made_of = json.loads((model.folder / "config.json").read_bytes())
    assert made_of["lineage"]["generations"][1]["objective"]["is"] == "objective:Objective"
    assert made_of["class_names"] == list(splits.info.class_names)
    assert model.provenance()["threads"] == 1


def test_a_second_run_trains_nothing(splits: Splits, tmp_path: Path) -> None:
    finish(chain(), splits, tmp_path)
    engine = Engine.choose("cpu", "fp32", 1)
    phases = [kind(event) for event in train(chain(), 0, splits, runs=tmp_path, engine=engine)]
    assert phases == ["stored", "stored"]


def test_shared_generations_are_one_model(splits: Splits, tmp_path: Path) -> None:
    short, long = chain(2), chain(3)
    first = finish(short, splits, tmp_path)
    stamps = [(model.folder / "manifest.json").stat().st_mtime_ns for model in first]
    second = finish(long, splits, tmp_path)
    assert [model.address for model in first] == [model.address for model in second[:2]]
    assert [(model.folder / "manifest.json").stat().st_mtime_ns for model in second[:2]] == stamps


@pytest.mark.fault(12)
def test_stopping_at_every_moment_still_ends_in_the_same_bits(
    splits: Splits, tmp_path: Path, whole_epochs: None
) -> None:
    undisturbed = finish(chain(), splits, tmp_path / "a")
    engine = Engine.choose("cpu", "fp32", 1)
    stops = []
    stop_requested = [False]
    for phase in ("training",) * 4 + ("measuring",) * 2 + ("never",):
        stop_requested[0] = False
        try:
            for event in train(
                chain(), 0, splits, runs=tmp_path / "b", engine=engine, should_stop=lambda: stop_requested[0]
            ):
                stop_requested[0] = kind(event) == phase
        except Stopped as stop:
            stops.append(str(stop))
    assert stops == [
        "g0 stopped at step 4 of 8",
        "g0 stopped at step 8 of 8",
        "g1 stopped at step 4 of 8",
        "g1 stopped at step 8 of 8",
        "g1 stopped while it was measured",
        "g1 stopped while it was measured",
    ]
    disturbed = models_of(chain(), 0, splits.fingerprint, "fp32", tmp_path / "b")
    for expected, actual in zip(undisturbed, disturbed, strict=True):
        assert weights(expected) == weights(actual)
        assert (expected.folder / "metrics.jsonl").read_bytes() == (actual.folder / "metrics.jsonl").read_bytes()
        assert (expected.folder / "predictions.safetensors").read_bytes() == (
            actual.folder / "predictions.safetensors"
        ).read_bytes()
        assert not (actual.folder / "checkpoints").exists()


@pytest.mark.fault(12)
def test_stopping_at_every_check_of_the_flag(
    splits: Splits, tmp_path: Path, tried: Tried, whole_epochs: None
) -> None:
    """Also while the watched sets are measured after an epoch: resuming completes that epoch's metrics."""
    watched = replace(splits, holdout=splits.test)
    engine = Engine.choose("cpu", "fp32", 1)
    line = lineage(generation("only", labels_only()))

    def run(runs: Path, at: int) -> bool:
        """Train until the ``at``-th check of the flag; False if that stopped it."""
        checks = iter(range(1, at + 1))
        try:
            for _ in train(
                line, 0, watched, runs=runs, engine=engine, options=WATCHED, should_stop=lambda: next(checks) == at
            ):
                pass
        except Stopped:
            return False
        except StopIteration:
            raise AssertionError("training went on") from None
        return True

    assert run(tmp_path / "undisturbed", 1000)
    (expected,) = (tmp_path / "undisturbed" / "models").iterdir()
    checks = 1
    while not run(tmp_path / f"{checks}", checks):
        assert run(tmp_path / f"{checks}", 1000)
        (model,) = (tmp_path / f"{checks}" / "models").iterdir()
        for name in ("weights.safetensors", "metrics.jsonl", "predictions.safetensors", "evaluation.json"):
            assert (model / name).read_bytes() == (expected / name).read_bytes(), (checks, name)
        assert not (model / "checkpoints").exists()
        checks += 1
    assert checks > 8
    tried(checks - 1, "stops at every check of the flag, holdout and test set watched; the same bits")


def stopped_once(splits: Splits, runs: Path) -> Model:
    """A model with two checkpoints, stopped after each of its epochs."""
    line = lineage(generation("only", labels_only()))
    engine = Engine.choose("cpu", "fp32", 1)
    for _ in range(2):
        stop = iter([False, False, True]).__next__  # the third check is the one after an epoch
        with pytest.raises(Stopped):
            for _ in train(line, 0, splits, runs=runs, engine=engine, should_stop=stop):
                pass
    (model,) = models_of(line, 0, splits.fingerprint, "fp32", runs)
    assert [checkpoint.step for checkpoint in storage.checkpoints(model.folder)] == [8, 4]
    return model


@pytest.mark.fault(6)
def test_a_damaged_checkpoint_is_skipped_with_a_warning(splits: Splits, tmp_path: Path, whole_epochs: None) -> None:
    expected = finish(lineage(generation("only", labels_only())), splits, tmp_path / "a")[0]
    model = stopped_once(splits, tmp_path / "b")
    newest = storage.checkpoints(model.folder)[0].folder / "state.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    warnings: list[str] = []
    finish(lineage(generation("only", labels_only())), splits, tmp_path / "b", warn=warnings.append)
    assert len(warnings) == 1
    assert "skipping a damaged checkpoint" in warnings[0]
    assert "state.safetensors" in warnings[0]
    assert weights(model) == weights(expected)


@pytest.mark.fault(7)
def test_no_valid_checkpoint_stops_rather_than_starting_over(
    splits: Splits, tmp_path: Path, whole_epochs: None
) -> None:
    model = stopped_once(splits, tmp_path)
    for checkpoint in storage.checkpoints(model.folder):
        (checkpoint.folder / "state.safetensors").write_bytes(b"")
    with pytest.raises(storage.Damaged, match=r"no checkpoint in .* is valid .*has 0 bytes"):
        finish(lineage(generation("only", labels_only())), splits, tmp_path, warn=lambda _: None)
    assert not model.finished


@pytest.mark.fault(36)
def test_a_damaged_model_is_never_used(splits: Splits, tmp_path: Path) -> None:
    model = finish(chain(), splits, tmp_path)[0]
    path = model.folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(storage.Damaged, match=r"Delete .* to train this model again"):
        finish(chain(), splits, tmp_path)


@pytest.mark.fault(14)
def test_a_folder_in_use_is_left_alone(splits: Splits, tmp_path: Path) -> None:
    (model,) = models_of(lineage(generation("only", labels_only())), 0, splits.fingerprint, "fp32", tmp_path)
    with storage.lock(model.folder), pytest.raises(storage.InUse, match=r"is in use by process \d+ on .* since"):
        finish(lineage(generation("only", labels_only())), splits, tmp_path)
    assert not model.finished


@pytest.mark.fault(19)
def test_resuming_with_other_threads_warns(splits: Splits, tmp_path: Path, whole_epochs: None) -> None:
    stopped_once(splits, tmp_path)
    warnings: list[str] = []
    engine = Engine.choose("cpu", "fp32", 2)
    line = lineage(generation("only", labels_only()))
    for _ in train(line, 0, splits, runs=tmp_path, engine=engine, warn=warnings.append):
        pass
    assert warnings == ["only: threads was 1, now 2: not bit-exact from here"]


@pytest.mark.fault(32)
@pytest.mark.parametrize("model", ["tests.lineage.test_train:one_class", "tests.lineage.test_train:no_tensor"])
def test_a_network_that_does_not_fit_is_refused_before_training(splits: Splits, tmp_path: Path, model: str) -> None:
    line = lineage(generation("first", labels_only()), generation("second", labels_only(), model=model))
    with pytest.raises(ValueError, match="the data has 4 classes"):
        finish(line, splits, tmp_path)
    assert not list(tmp_path.rglob("*"))


def one_class() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 1))


def no_tensor() -> torch.nn.Module:
    class Pair(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    return Pair()


def test_an_ensemble_teaches(splits: Splits, tmp_path: Path) -> None:
    line = lineage(
        generation("a", labels_only()), generation("b", labels_only()), generation("c", tolerant_student(), 0, 1)
    )
    models = finish(line, splits, tmp_path)
    assert json.loads((models[2].folder / "config.json").read_bytes())["teachers"] == [
        models[0].address,
        models[1].address,
    ]


def test_the_order_of_generations_is_checked() -> None:
    with pytest.raises(ValueError, match="a teacher comes before its student"):
        lineage(generation("g0", tolerant_student(), 0))
    with pytest.raises(ValueError, match="but it has no teacher"):
        generation("g0", tolerant_student())
    with pytest.raises(ValueError, match="does not use one"):
        generation("g1", labels_only(), 0)
    with pytest.raises(ValueError, match="different names"):
        lineage(generation("g", labels_only()), generation("g", labels_only()))


def test_a_holdout_is_measured_beside_the_test_set(tmp_path: Path) -> None:
    splits = make_splits()
    with_holdout = Splits(
        info=splits.info, train=splits.train, test=splits.test, holdout=splits.test, fingerprint="with holdout"
    )
    (model,) = finish(lineage(generation("only", labels_only())), with_holdout, tmp_path)
    assert model.evaluation()["holdout"] == model.evaluation()["test"]
    assert torch.equal(model.predictions()["holdout"], model.predictions()["test"])
