"""What models say of their training images: that it is theirs, computed once, and never believed when damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import make_splits
from tutelage import storage
from tutelage.analysis import training_logits as module
from tutelage.analysis.training_logits import (
    keep_training_labels,
    keep_training_logits,
    training_labels,
    training_logits,
)
from tutelage.artifacts.model import Model
from tutelage.data import CropFlip, DataConfig, Splits
from tutelage.engine import Engine
from tutelage.evaluation import measure
from tutelage.lineage import Generation, Lineage, models_of, train
from tutelage.methods.hinton import labels_only
from tutelage.training import Schedule

LINEAGE = Lineage(
    name="one",
    data=DataConfig(name="made for tests"),
    views=CropFlip(padding=1),
    generations=(
        Generation(
            name="only", model="resnet8", objective=labels_only(), schedule=Schedule(epochs=2, batch_size=10, lr=0.1)
        ),
    ),
)


@pytest.fixture
def model(tmp_path: Path, splits: Splits) -> Model:
    engine = Engine.choose("cpu", "fp32", 1)
    list(train(LINEAGE, 0, splits, runs=tmp_path, engine=engine))
    (found,) = models_of(LINEAGE, 0, splits.fingerprint, "fp32", tmp_path)
    return found


def kept(model: Model) -> Path:
    return model.folder.parent.parent / "measured" / model.address / "train.safetensors"


def test_it_is_what_was_measured_at_the_end_of_training(model: Model, splits: Splits) -> None:
    assert training_logits(model) is None
    keep_training_logits(model, splits)
    logits = training_logits(model)
    assert logits is not None
    assert measure(logits, splits.train.labels) == model.evaluation()["train"]


def test_it_is_computed_once_and_no_part_of_the_model(
    model: Model, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in model.folder.iterdir()}
    keep_training_logits(model, splits)
    assert {path: path.read_bytes() for path in model.folder.iterdir()} == before

    def never(*_: object) -> None:
        raise AssertionError("it was computed again")

    monkeypatch.setattr(module, "_run", never)
    keep_training_logits(model, splits)


def test_what_is_damaged_or_cut_short_is_computed_again(model: Model, splits: Splits) -> None:
    keep_training_logits(model, splits)
    whole = kept(model).read_bytes()
    kept(model).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert training_logits(model) is None
    keep_training_logits(model, splits)
    assert kept(model).read_bytes() == whole
    (kept(model).parent / "manifest.json").unlink()
    assert training_logits(model) is None
    keep_training_logits(model, splits)
    assert training_logits(model) is not None


def test_a_model_that_was_trained_again_is_measured_again(model: Model, splits: Splits) -> None:
    keep_training_logits(model, splits)
    tensors = {name: value + 0.001 if value.is_floating_point() else value for name, value in model.weights().items()}
    manifest = storage.read_manifest(model.folder)
    files = {name: (model.folder / name).read_bytes() for name in manifest["files"]}
    storage.commit(model.folder, files | {"weights.safetensors": storage.tensor_bytes(tensors)}, manifest["note"])
    assert training_logits(model) is None


def test_other_weights_than_were_measured_are_refused(model: Model, splits: Splits) -> None:
    manifest = storage.read_manifest(model.folder)
    files = {name: (model.folder / name).read_bytes() for name in manifest["files"]}
    zeros = {name: torch.zeros_like(value) for name, value in model.weights().items()}
    storage.commit(model.folder, files | {"weights.safetensors": storage.tensor_bytes(zeros)}, manifest["note"])
    with pytest.raises(ValueError, match=f"{model.address} gives the labels of its training images a mean score of"):
        keep_training_logits(model, splits)
    (model.folder / "weights.safetensors").write_bytes(b"")
    with pytest.raises(storage.Damaged, match=r"weights\.safetensors has 0 bytes"):
        keep_training_logits(model, splits)


def test_other_images_are_refused(model: Model, splits: Splits) -> None:
    other = replace(make_splits(), fingerprint="other images")
    for keep in (keep_training_labels, keep_training_logits):
        with pytest.raises(ValueError, match="was trained on other images than there are now"):
            keep(model, other)


def test_labels_and_superclasses(model: Model, splits: Splits) -> None:
    assert training_labels(model) is None
    keep_training_labels(model, splits)
    found = training_labels(model)
    assert found is not None
    assert torch.equal(found.labels, splits.train.labels)
    assert found.superclasses is None

    coarse = torch.tensor([0, 0, 1, 1])
    parts = {
        part: replace(data, coarse_labels=coarse[data.labels])
        for part, data in (("train", splits.train), ("test", splits.test))
    }
    storage.remove(model.folder.parent.parent / "measured" / splits.fingerprint)
    keep_training_labels(model, replace(splits, **parts))
    found = training_labels(model)
    assert found is not None
    assert found.superclasses is not None
    assert torch.equal(found.superclasses, coarse)


def test_another_process_that_measures_is_waited_for(
    model: Model, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WAIT", 0.1)
    with storage.lock(kept(model).parent), pytest.raises(storage.InUse, match="is in use by process"):
        keep_training_logits(model, splits)
    assert training_logits(model) is None
