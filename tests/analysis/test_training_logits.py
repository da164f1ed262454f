"""The stored logits on training images: they match the model, are computed once, and again when damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import make_splits
from tutelage import storage
from tutelage.analysis import training_logits as module
from tutelage.analysis.training_logits import (
    store_training_labels,
    store_training_logits,
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
    (model,) = models_of(LINEAGE, 0, splits.fingerprint, "fp32", tmp_path)
    return model


def stored_path(model: Model) -> Path:
    return model.runs / "measured" / model.address / "train.safetensors"


def test_they_match_the_measures_at_the_end_of_training(model: Model, splits: Splits) -> None:
    assert training_logits(model) is None
    store_training_logits(model, splits)
    logits = training_logits(model)
    assert logits is not None
    assert measure(logits, splits.train.labels) == model.evaluation()["train"]


def test_they_are_computed_once_and_not_part_of_the_model(
    model: Model, splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in model.folder.iterdir()}
    store_training_logits(model, splits)
    assert {path: path.read_bytes() for path in model.folder.iterdir()} == before

    def fail(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(module, "_run", fail)
    store_training_logits(model, splits)


def test_damaged_or_unfinished_files_are_computed_again(model: Model, splits: Splits) -> None:
    store_training_logits(model, splits)
    original = stored_path(model).read_bytes()
    stored_path(model).write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    assert training_logits(model) is None
    store_training_logits(model, splits)
    assert stored_path(model).read_bytes() == original
    (stored_path(model).parent / "manifest.json").unlink()
    assert training_logits(model) is None
    store_training_logits(model, splits)
    assert training_logits(model) is not None


def test_a_retrained_model_is_measured_again(model: Model, splits: Splits) -> None:
    store_training_logits(model, splits)
    tensors = {name: value + 0.001 if value.is_floating_point() else value for name, value in model.weights().items()}
    manifest = storage.read_manifest(model.folder)
    files = {name: (model.folder / name).read_bytes() for name in manifest["files"]}
    storage.commit(model.folder, files | {"weights.safetensors": storage.tensor_bytes(tensors)}, manifest["note"])
    assert training_logits(model) is None


def test_weights_that_do_not_match_the_measures_are_refused(model: Model, splits: Splits) -> None:
    manifest = storage.read_manifest(model.folder)
    files = {name: (model.folder / name).read_bytes() for name in manifest["files"]}
    zeros = {name: torch.zeros_like(value) for name, value in model.weights().items()}
    storage.commit(model.folder, files | {"weights.safetensors": storage.tensor_bytes(zeros)}, manifest["note"])
    with pytest.raises(ValueError, match=f"{model.address} gives the labels of its training images a mean score of"):
        store_training_logits(model, splits)
    (model.folder / "weights.safetensors").write_bytes(b"")
    with pytest.raises(storage.Damaged, match=r"weights\.safetensors has 0 bytes"):
        store_training_logits(model, splits)


def test_other_images_are_refused(model: Model, splits: Splits) -> None:
    other = replace(make_splits(), fingerprint="other images")
    for store in (store_training_labels, store_training_logits):
        with pytest.raises(ValueError, match="was trained on other images than these"):
            store(model, other)


def test_labels_and_superclasses(model: Model, splits: Splits) -> None:
    assert training_labels(model) is None
    store_training_labels(model, splits)
    plain = training_labels(model)
    assert plain is not None
    assert torch.equal(plain.labels, splits.train.labels)
    assert plain.superclasses is None

    coarse = torch.tensor([0, 0, 1, 1])
    parts = {
        part: replace(data, coarse_labels=coarse[data.labels])
        for part, data in (("train", splits.train), ("test", splits.test))
    }
    storage.remove(model.runs / "measured" / splits.fingerprint)
    store_training_labels(model, replace(splits, **parts))
    with_superclasses = training_labels(model)
    assert with_superclasses is not None
    assert with_superclasses.superclasses is not None
    assert torch.equal(with_superclasses.superclasses, coarse)


def test_waits_while_another_process_measures(model: Model, splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAIT", 0.1)
    with storage.lock(stored_path(model).parent), pytest.raises(storage.InUse, match="is in use by process"):
        store_training_logits(model, splits)
    assert training_logits(model) is None
