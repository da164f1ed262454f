"""What is kept of a model on another dataset: computed once, by content, and never believed when damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import make_splits
from tutelage import storage
from tutelage.analysis.transfer import probes
from tutelage.analysis.transfer.probes import (
    Destination,
    check_transfer,
    kept,
    kept_of_pixels,
    missing,
    probe_model,
    probe_pixels,
    shape_of,
)
from tutelage.artifacts.model import Model
from tutelage.artifacts.trained import Trained
from tutelage.data import CropFlip, DataConfig, Splits
from tutelage.engine import Engine
from tutelage.evaluation import accuracy
from tutelage.evaluation.features import features
from tutelage.evaluation.probe import PROTOCOLS
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
    list(train(LINEAGE, 0, splits, runs=tmp_path, engine=Engine.choose("cpu", "fp32", 1)))
    (found,) = models_of(LINEAGE, 0, splits.fingerprint, "fp32", tmp_path)
    return found


@pytest.fixture
def elsewhere() -> Destination:
    """Another set: three channels, another size, three classes of another brightness."""
    made = make_splits(num_classes=3, size=60, test_size=30)

    def wide(images: torch.Tensor) -> torch.Tensor:
        return images.expand(-1, 3, -1, -1).repeat_interleave(2, 2).contiguous()

    train, test = (replace(part, images=wide(part.images)) for part in (made.train, made.test))
    return Destination(replace(made, train=train, test=test, fingerprint="elsewhere"), "elsewhere")


def files(runs: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (runs / "transfer").glob("*/*/*")}


def test_a_model_and_pixels_are_probed_once(
    model: Model, elsewhere: Destination, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in model.folder.iterdir()}
    assert kept(model) == kept_of_pixels(tmp_path) == ()
    probe_model(model, elsewhere, ("knn",))
    assert missing(model, elsewhere, ("linear", "knn")) == ("linear",)
    probe_model(model, elsewhere, ("linear", "knn"))
    probe_pixels(tmp_path, shape_of(model), elsewhere, ("linear", "knn"))
    assert {path: path.read_bytes() for path in model.folder.iterdir()} == before

    found = {one.probe: one for one in kept(model)}
    assert set(found) == {"linear", "knn"}
    for one in found.values():
        assert (one.model, one.layer, one.width, one.shape) == (model.address, "classifier:input", 64, (1, 8, 8))
        assert (one.data, one.train_size, one.test_size, one.num_classes) == ("elsewhere", 60, 30, 3)
        assert 0.0 <= one.accuracy <= 1.0
    assert {one.probe: one.accuracy for one in kept_of_pixels(tmp_path)}["linear"] == 1.0  # three bright bands
    assert {(one.model, one.width) for one in kept_of_pixels(tmp_path)} == {("pixels", 64)}

    written = files(tmp_path)
    assert len(written) == 8  # four probes, each with its manifest
    monkeypatch.setattr(probes, "features", lambda *_, **__: pytest.fail("it is kept"))
    monkeypatch.setattr(probes, "linear_probe", lambda *_, **__: pytest.fail("it is kept"))
    probe_model(model, elsewhere, ("linear", "knn"))
    probe_pixels(tmp_path, shape_of(model), elsewhere, ("linear", "knn"))
    assert files(tmp_path) == written


def test_on_its_own_images_a_probe_sees_what_the_network_sees(model: Model, splits: Splits) -> None:
    """No conversion, and the classifier's own weights on these features give the predictions that were kept."""
    predictions = model.predictions()
    probe_model(model, Destination(splits, "own"), ("linear",))
    (found,) = kept(model)
    trained = Trained(model)
    network = trained.network()
    own = features(
        network,
        splits.test.images,
        trained.normalization,
        Engine.choose("cpu", "fp32", 1),
        shape=trained.shape,
        layer=found.layer,
    )
    with torch.no_grad():
        logits = network.get_submodule("classifier")(own)
    torch.testing.assert_close(logits, predictions["test"], rtol=1e-4, atol=1e-4)
    assert accuracy(logits, splits.test.labels) == model.evaluation()["test"]["top1"]


def test_what_decides_has_an_address_of_its_own(
    model: Model, elsewhere: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe_model(model, elsewhere, ("knn",))
    others = [
        replace(elsewhere, splits=replace(elsewhere.splits, fingerprint="other images")),
        replace(elsewhere, layers=("stage2",)),
    ]
    for other in others:
        assert missing(model, other, ("knn",)) == ("knn",)
        probe_model(model, other, ("knn",))
    assert sorted((one.fingerprint, one.layer, one.width) for one in kept(model)) == [
        ("elsewhere", "classifier:input", 64),
        ("elsewhere", "stage2", 32),
        ("other images", "classifier:input", 64),
    ]
    assert missing(model, replace(elsewhere, name="of another name"), ("knn",)) == ()
    monkeypatch.setitem(PROTOCOLS, "knn", {"neighbours": 7})
    assert missing(model, elsewhere, ("knn",)) == ("knn",)
    assert kept(model) == ()


def test_what_is_damaged_or_of_other_weights_is_not_believed(model: Model, elsewhere: Destination) -> None:
    probe_model(model, elsewhere, ("knn",))
    (path,) = (model.folder.parent.parent / "transfer" / model.address).glob("*/transfer.json")
    (first,) = kept(model)
    path.write_text(path.read_text().replace('"accuracy": ', '"accuracy": 1'))
    assert kept(model) == ()
    probe_model(model, elsewhere, ("knn",))
    assert kept(model) == (first,)

    manifest = json.loads((model.folder / "manifest.json").read_bytes())
    manifest["files"]["weights.safetensors"]["sha256"] = "0" * 64
    del manifest["sha256"]  # which would give the change away
    (model.folder / "manifest.json").write_text(json.dumps(manifest))
    assert kept(model) == ()
    with pytest.raises(storage.Damaged, match=r"weights\.safetensors has SHA-256"):
        probe_model(model, elsewhere, ("knn",))


def test_the_first_layer_that_a_network_has_is_taken(model: Model, elsewhere: Destination) -> None:
    to = replace(elsewhere, layers=("head:input", "stage1", "stage2"))
    check_transfer(model, to)
    probe_model(model, to, ("knn",))
    assert [(one.layer, one.layers, one.width) for one in kept(model)] == [("stage1", to.layers, 16)]
    with pytest.raises(ValueError, match="resnet8: unknown module 'head'"):
        check_transfer(model, replace(elsewhere, layers=("head:input", "stage9")))
