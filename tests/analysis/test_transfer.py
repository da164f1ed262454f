"""Stored probe results: computed once, addressed by their content, and ignored when damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import make_splits
from tutelage import storage
from tutelage.analysis import load_results
from tutelage.analysis.transfer import Destination, check_transfer, measure_transfer, probes, transfer_records
from tutelage.analysis.transfer.probes import feature_layer, probe_model, probe_pixels
from tutelage.analysis.transfer.results import Subject, stored_pixel_results, stored_results
from tutelage.artifacts.model import Model
from tutelage.data import CropFlip, DataConfig, Splits
from tutelage.engine import Engine
from tutelage.evaluation import accuracy
from tutelage.evaluation.features import features
from tutelage.evaluation.probe import PROTOCOLS
from tutelage.lineage import Generation, Lineage, models_of, train
from tutelage.methods.hinton import labels_only
from tutelage.study import Study, StudyRecord
from tutelage.study.files import write_study
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
    list(train(LINEAGE, 0, splits, runs=tmp_path, engine=Engine.choose("cpu", "fp32", 1)))
    (trained,) = models_of(LINEAGE, 0, splits.fingerprint, "fp32", tmp_path)
    return trained


@pytest.fixture
def destination() -> Destination:
    """Another dataset: three channels, another size, three classes."""
    narrow = make_splits(num_classes=3, size=60, test_size=30)

    def widen(images: torch.Tensor) -> torch.Tensor:
        return images.expand(-1, 3, -1, -1).repeat_interleave(2, 2).contiguous()

    train_set = replace(narrow.train, images=widen(narrow.train.images))
    test_set = replace(narrow.test, images=widen(narrow.test.images))
    return Destination(replace(narrow, train=train_set, test=test_set, fingerprint="elsewhere"), "elsewhere")


def files(runs: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (runs / "transfer").glob("*/*/*")}


def test_a_model_and_pixels_are_probed_once(
    model: Model, destination: Destination, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in model.folder.iterdir()}
    assert stored_results(model) == stored_pixel_results(tmp_path) == ()
    probe_model(model, destination, ("knn",))
    assert Subject.model(model).missing(destination, ("linear", "knn")) == ("linear",)
    probe_model(model, destination, ("linear", "knn"))
    probe_pixels(tmp_path, model.input_shape(), destination, ("linear", "knn"))
    assert {path: path.read_bytes() for path in model.folder.iterdir()} == before

    results = {result.probe: result for result in stored_results(model)}
    assert set(results) == {"linear", "knn"}
    for result in results.values():
        assert (result.model, result.layer, result.width) == (model.address, "classifier:input", 64)
        assert result.shape == (1, 8, 8)
        assert (result.data, result.train_size, result.test_size, result.num_classes) == ("elsewhere", 60, 30, 3)
        assert 0.0 <= result.accuracy <= 1.0
    of_pixels = stored_pixel_results(tmp_path)
    assert {result.probe: result.accuracy for result in of_pixels}["linear"] == 1.0  # three bright bands
    assert {(result.model, result.width) for result in of_pixels} == {("pixels", 64)}

    times = files(tmp_path)
    assert len(times) == 8  # four probes, each with its manifest
    monkeypatch.setattr(probes, "features", lambda *_, **__: pytest.fail("it is stored"))
    monkeypatch.setattr(probes, "linear_probe", lambda *_, **__: pytest.fail("it is stored"))
    probe_model(model, destination, ("linear", "knn"))
    probe_pixels(tmp_path, model.input_shape(), destination, ("linear", "knn"))
    assert files(tmp_path) == times


def test_on_its_own_data_a_probe_sees_what_the_network_sees(model: Model, splits: Splits) -> None:
    """There is no conversion: the classifier's weights, applied to these features, give the stored predictions."""
    predictions = model.predictions()
    probe_model(model, Destination(splits, "own"), ("linear",))
    (result,) = stored_results(model)
    network = model.load_network()
    assert result.layer == feature_layer(model, network, ())
    own = features(
        network,
        splits.test.images,
        model.normalization(),
        Engine.choose("cpu", "fp32", 1),
        shape=model.input_shape(),
        layer=result.layer,
    )
    with torch.no_grad():
        logits = network.get_submodule("classifier")(own)
    torch.testing.assert_close(logits, predictions["test"], rtol=1e-4, atol=1e-4)
    assert accuracy(logits, splits.test.labels) == model.evaluation()["test"].top1


def test_whatever_affects_the_result_is_part_of_its_address(
    model: Model, destination: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = Subject.model(model)
    probe_model(model, destination, ("knn",))
    others = [
        replace(destination, splits=replace(destination.splits, fingerprint="other images")),
        replace(destination, layers=("stage2",)),
    ]
    for other in others:
        assert subject.missing(other, ("knn",)) == ("knn",)
        probe_model(model, other, ("knn",))
    assert sorted((result.fingerprint, result.layer, result.width) for result in stored_results(model)) == [
        ("elsewhere", "classifier:input", 64),
        ("elsewhere", "stage2", 32),
        ("other images", "classifier:input", 64),
    ]
    assert subject.missing(replace(destination, name="of another name"), ("knn",)) == ()
    monkeypatch.setitem(PROTOCOLS, "knn", {"neighbours": 7})
    assert subject.missing(destination, ("knn",)) == ("knn",)
    assert stored_results(model) == ()


def test_damaged_results_and_those_of_other_weights_are_ignored(model: Model, destination: Destination) -> None:
    probe_model(model, destination, ("knn",))
    (path,) = (model.runs / "transfer" / model.address).glob("*/transfer.json")
    (first,) = stored_results(model)
    path.write_text(path.read_text().replace('"accuracy": ', '"accuracy": 1'))
    assert stored_results(model) == ()
    probe_model(model, destination, ("knn",))
    assert stored_results(model) == (first,)

    manifest = json.loads((model.folder / "manifest.json").read_bytes())
    manifest["files"]["weights.safetensors"]["sha256"] = "0" * 64
    del manifest["sha256"]  # it would reveal the change
    (model.folder / "manifest.json").write_text(json.dumps(manifest))
    assert stored_results(model) == ()
    with pytest.raises(storage.Damaged, match=r"weights\.safetensors has SHA-256"):
        probe_model(model, destination, ("knn",))


def test_the_first_layer_that_a_network_has_is_used(model: Model, destination: Destination) -> None:
    to = replace(destination, layers=("head:input", "stage1", "stage2"))
    check_transfer(model, to)
    probe_model(model, to, ("knn",))
    assert [(result.layer, result.layers, result.width) for result in stored_results(model)] == [
        ("stage1", to.layers, 16)
    ]
    with pytest.raises(ValueError, match="resnet8: unknown module 'head'"):
        check_transfer(model, replace(destination, layers=("head:input", "stage9")))


def test_a_study_is_probed_once(model: Model, destination: Destination, tmp_path: Path, splits: Splits) -> None:
    study = Study(lineages=(LINEAGE,), seeds=(0, 1))
    write_study(
        StudyRecord(study=study, precision="fp32", fingerprints=(splits.fingerprint,), num_classes=(4,)), tmp_path
    )
    results = load_results(study.name, tmp_path)
    with pytest.raises(ValueError, match="unknown seed of the run '2': choose from 0, 1"):
        list(measure_transfer(results, destination, seeds=(2,)))
    with pytest.raises(ValueError, match="no model of the run is finished yet"):
        list(measure_transfer(results, destination, seeds=(1,)))  # only seed 0 has been trained
    few = replace(destination.splits, train=destination.splits.train.subset(torch.arange(3)))
    with pytest.raises(ValueError, match="too few for the linear probe"):
        list(measure_transfer(results, replace(destination, splits=few)))
    assert not (tmp_path / "transfer").exists()

    first, second = measure_transfer(results, destination)
    (generation,) = results.generations
    assert (first.number, first.of, first.generation, first.seed) == (1, 2, generation, 0)
    assert (second.number, second.of, second.generation, second.seed) == (2, 2, None, None)
    assert list(measure_transfer(results, destination)) == []
    records = transfer_records(results)
    assert [(record.probe, record.seeds, record.of_pixels) for record in records] == [
        ("linear", (0,), False),
        ("linear", (), True),
        ("knn", (0,), False),
        ("knn", (), True),
    ]
    assert all(record.addresses == (model.address,) for record in records if not record.of_pixels)
