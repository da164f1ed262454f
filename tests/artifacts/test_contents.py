"""Right manifests over wrong contents: who forges a file forges its checksum, and is refused by the file's reader."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.artifacts.folders import ADDRESS, FINGERPRINT, LABELS, LOGITS, config, contents, evaluation, write
from tests.conftest import Tried
from tutelage import storage
from tutelage.analysis.training_logits import training_labels, training_logits
from tutelage.analysis.transfer.results import PIXELS, stored_pixel_results
from tutelage.artifacts.ensembles import ensemble_measures
from tutelage.artifacts.model import Model
from tutelage.artifacts.pretrained import read_metadata
from tutelage.evaluation import Measures, measure

NAN, INF = float("nan"), float("inf")
DELETED = object()


def changed(values: Any, path: str, value: Any) -> bytes:
    """JSON with another value at a path of keys."""
    tree = copy.deepcopy(values)
    *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
    inner = tree
    for key in parents:
        inner = inner[key]
    if value is DELETED:
        del inner[last]
    else:
        inner[last] = value
    return json.dumps(tree).encode()


def assert_refused(read: Callable[[], object], file: Path, message: str | None = None) -> None:
    with pytest.raises(storage.Damaged, match=message) as error:
        read()
    assert str(error.value).startswith(str(file))
    assert len(str(error.value)) < len(str(file)) + 200


CONFIGS: dict[str, list[Any]] = {
    "place": [-1, 1, 10**9, 0.5, "0", None, True, DELETED],
    "lineage_seed": [-1, 2**63, 0.0, DELETED],
    "class_names": [[], "abc", {"a": 1}, [1, 2, 3], None, DELETED],
    "input": [[0, 8, 8], [1, -1, 8], [1, 8], [1, 8, 8, 8], "188", 8, [1, 8, 1e308], DELETED],
    "precision": ["fp64", "", 32, ["fp32"], DELETED],
    "data_fingerprint": [None, 1, DELETED],
    "data_notes": [None, "text", [1]],
    "teachers": ["a", [1], None, ["b"], DELETED],
    "lineage": [None, [], "x", {}, DELETED],
    "lineage.generations": [{}, [], None, "x", DELETED],
    "lineage.generations.0": [None, [], {}],
    "lineage.generations.0.model": [1, None, DELETED],
    "lineage.generations.0.teachers": [[0], [-1], [5], "0", DELETED],
    "lineage.generations.0.schedule": [None, {}, {"epochs": "2"}, DELETED],
    "lineage.data": [None, [], {}],
    "lineage.data.train_size": [0, -1, "20", 0.5],
    "lineage.data.name": [1, None, DELETED],
}
FROM_1_TO_0 = [-0.1, 1.1, 1e308, "1", None, True, [], DELETED]
EVALUATIONS: dict[str, list[Any]] = {
    "test": [None, [], {}, "x", DELETED],
    "train": [None, DELETED],
    "test.top1": FROM_1_TO_0,
    "test.top5": [*FROM_1_TO_0, 0.5],  # below top1
    "test.ece": FROM_1_TO_0,
    "train.primary": FROM_1_TO_0,
    "test.nll": [-1, 1e400, "0", DELETED],
    "test.at_chance": [0, 1, None, "false", DELETED],
    "test.energy": [[], [0.1, 0.2], [1e308], [-0.1], [0.9, 0.9], [0.5, None], "x", 1, DELETED],
    "other": [evaluation()["test"]],
    "# x\n- y": [evaluation()["test"]],
}


@pytest.mark.fault(30)
@pytest.mark.parametrize("path", CONFIGS)
def test_a_configuration(path: str, tmp_path: Path, tried: Tried) -> None:
    for value in CONFIGS[path]:
        model = write(tmp_path, config=changed(config(), path, value))
        assert_refused(model.config, model.folder / "config.json")
    tried(len(CONFIGS[path]), "wrong contents under a right manifest refused, by the file's name")


@pytest.mark.fault(30)
@pytest.mark.parametrize("path", EVALUATIONS)
def test_an_evaluation(path: str, tmp_path: Path, tried: Tried) -> None:
    for value in EVALUATIONS[path]:
        try:
            content = changed(evaluation(), path, value)
        except KeyError:
            content = json.dumps(evaluation() | {path: value}).encode()
        model = write(tmp_path, evaluation=content)
        assert_refused(model.evaluation, model.folder / "evaluation.json")
    tried(len(EVALUATIONS[path]), "wrong contents under a right manifest refused, by the file's name")


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    "normalization",
    [
        None,
        {"is": "data:Normalization", "mean": [0.5], "std": [0.0], "size": None},
        {"is": "data:Normalization", "mean": [0.5], "std": [-1], "size": None},
        {"is": "data:Normalization", "mean": [0.5, 0.5], "std": [1, 1], "size": None},
        {"is": "data:Normalization", "mean": [0.5], "std": [1], "size": 0},
        {"is": "data:Normalization", "mean": [0.5], "std": [1], "size": -8},
        {"is": "data:DataConfig"},
    ],
)
def test_a_normalization(normalization: Any, tmp_path: Path) -> None:
    model = write(tmp_path, config=changed(config(), "normalization", normalization))
    assert_refused(model.normalization, model.folder / "config.json", "normalization")


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"[]",
        b"1",
        b"null",
        b"x",
        b'{"epoch": 2}',
        b'{"epoch": -1}',
        b'{"epoch": 1}\n{"epoch": 1}',
        b'{"epoch": 1}\n{"epoch": 3}',
        b'{"epoch": 1, "accuracy": 1e308}',
        b'{"epoch": 1, "test/top1": -0.1}',
        b'{"epoch": 1, "loss": NaN}',
        b'{"epoch": 1, "loss": "0.5"}',
        b'{"epoch": 1, "loss": [0.5]}',
        b'{"epoch": true}',
        b'{"epoch": 1}\n\n',
        b"\xff",
    ],
)
def test_metrics(text: bytes, tmp_path: Path) -> None:
    model = write(tmp_path, metrics=text)
    assert_refused(model.metrics, model.folder / "metrics.jsonl")


def wrong_tensors(logits: str, labels: str) -> dict[str, dict[str, Tensor]]:
    """Tensors under the names that logits and labels have in a file, each wrong in its own way."""
    good = {logits: LOGITS, labels: LABELS}
    return {
        "nothing": {},
        "no logits": {labels: LABELS},
        "one dimension": good | {logits: LOGITS.flatten()},
        "three dimensions": good | {logits: LOGITS[None]},
        "other classes": good | {logits: torch.zeros(6, 4)},
        "no class": good | {logits: torch.zeros(6, 0)},
        "other images": good | {logits: torch.zeros(5, 3)},
        "no image": {logits: torch.zeros(0, 3), labels: torch.zeros(0, dtype=torch.int64)},
        "NaN": good | {logits: torch.full((6, 3), NAN)},
        "infinite": good | {logits: torch.full((6, 3), -INF)},
        "whole numbers": good | {logits: LOGITS.long()},
        "complex": good | {logits: LOGITS.to(torch.complex64)},
        "8 bits": good | {logits: LOGITS.to(torch.float8_e4m3fn)},
        "bool": good | {logits: LOGITS.bool()},
    }


def wrong_labels(logits: str, labels: str) -> dict[str, dict[str, Tensor]]:
    good = {logits: LOGITS, labels: LABELS}
    return {
        "no labels": {logits: LOGITS},
        "labels of floats": good | {labels: LABELS.float()},
        "labels of 32 bits": good | {labels: LABELS.int()},
        "labels in rows": good | {labels: LABELS[:, None]},
        "negative labels": good | {labels: LABELS - 1},
        "labels beyond": good | {labels: LABELS + 1},
    }


PREDICTIONS = {
    **wrong_tensors("test", "test_labels"),
    **wrong_labels("test", "test_labels"),
    "a holdout without labels": {"test": LOGITS, "test_labels": LABELS, "holdout": LOGITS},
    "labels of a holdout alone": {"test": LOGITS, "test_labels": LABELS, "holdout_labels": LABELS},
    "a set of another name": {"test": LOGITS, "test_labels": LABELS, "x\n": LOGITS, "x\n_labels": LABELS},
}


@pytest.mark.fault(29)
@pytest.mark.parametrize("name", PREDICTIONS)
def test_predictions(name: str, tmp_path: Path, tried: Tried) -> None:
    model = write(tmp_path, predictions=storage.tensor_bytes(PREDICTIONS[name]))
    assert_refused(model.predictions, model.folder / "predictions.safetensors")
    tried(1, "wrong tensors under a right manifest refused, by the file's name")


def test_what_is_right_is_read(tmp_path: Path) -> None:
    model = write(tmp_path)
    assert model.config()["class_names"] == ["a", "b", "c"]
    assert model.evaluation()["test"] == measure(LOGITS, LABELS)
    assert [line["loss"] for line in model.metrics()] == [0.5, 0.25]
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        model = write(tmp_path, predictions=storage.tensor_bytes({"test": LOGITS.to(kind), "test_labels": LABELS}))
        assert model.predictions()["test"].dtype == kind


def store_logits(model: Model, tensors: dict[str, Tensor]) -> None:
    folder = model.runs / "measured" / ADDRESS
    storage.commit(folder, {"train.safetensors": storage.tensor_bytes(tensors)}, {"weights": model.weights_digest()})


@pytest.mark.fault(29)
def test_logits_on_training_images_are_computed_again(tmp_path: Path, tried: Tried) -> None:
    """They are a cache: what is wrong in any way counts as missing."""
    model = write(tmp_path)
    labels = {"train.safetensors": storage.tensor_bytes({"labels": LABELS})}
    storage.commit(tmp_path / "measured" / FINGERPRINT, labels)
    store_logits(model, {"logits": LOGITS})
    assert torch.equal(training_logits(model), LOGITS)  # type: ignore[arg-type]
    wrong = wrong_tensors("logits", "labels")
    for name, tensors in wrong.items():
        store_logits(model, tensors)
        assert training_logits(model) is None, name
    folder = tmp_path / "measured" / ADDRESS
    for content in (b"", b"x", storage.tensor_bytes({"logits": LOGITS})[:40]):
        storage.commit(folder, {"train.safetensors": content}, {"weights": model.weights_digest()})
        assert training_logits(model) is None
    storage.commit(folder, {"other": b""}, {"weights": model.weights_digest()})
    assert training_logits(model) is None
    tried(len(wrong) + 4, "wrong measured logits not used")


@pytest.mark.fault(29)
def test_labels_of_training_images(tmp_path: Path) -> None:
    model, folder = write(tmp_path), tmp_path / "measured" / FINGERPRINT
    classes = torch.tensor([0, 1, 0])
    good = {"labels": LABELS, "superclasses": classes}
    storage.commit(folder, {"train.safetensors": storage.tensor_bytes(good)})
    assert torch.equal(training_labels(model).superclasses, classes)  # type: ignore[union-attr, arg-type]
    superclasses = [classes[:2], classes - 1, classes + 2, classes.float(), classes[None]]
    for tensors in (
        *wrong_labels("logits", "labels").values(),
        *({"labels": LABELS, "superclasses": wrong} for wrong in superclasses),
    ):
        storage.commit(folder, {"train.safetensors": storage.tensor_bytes(tensors)})
        assert training_labels(model) is None


@pytest.mark.fault(30)
def test_measures_of_an_ensemble_are_computed_again(tmp_path: Path) -> None:
    models = [write(tmp_path, seed=seed) for seed in (0, 1)]
    expected = ensemble_measures(models)
    (folder,) = (tmp_path / "ensembles").iterdir()
    for path, value in (("top1", 1e308), ("ece", -1), ("energy", []), ("nll", DELETED), ("at_chance", 0)):
        storage.commit(folder, {"measures.json": changed(expected.to_json(), path, value)})
        assert ensemble_measures(models) == expected
        assert Measures.from_json(json.loads((folder / "measures.json").read_bytes()), "test") == expected


@pytest.mark.fault(29)
def test_members_of_an_ensemble_with_other_images(tmp_path: Path) -> None:
    first = write(tmp_path)
    for count in (5, 6):
        predictions = {"test": LOGITS[:count], "test_labels": LABELS[:count] if count == 5 else (LABELS + 1) % 3}
        second = write(tmp_path, seed=1, predictions=storage.tensor_bytes(predictions))
        with pytest.raises(storage.Damaged, match="were measured on different test images"):
            ensemble_measures([first, second])
    classes = storage.tensor_bytes({"test": torch.zeros(6, 4), "test_labels": LABELS})
    names = changed(config(1), "class_names", ["a", "b", "c", "d"])
    second = write(tmp_path, seed=1, predictions=classes, config=names)
    with pytest.raises(ValueError, match=r"score the same images, not .* = \[6, 3\] and \[6, 4\]"):
        ensemble_measures([first, second])


PROBE: dict[str, Any] = {
    "is": "analysis.transfer:ProbeResult",
    "model": PIXELS,
    "weights": "",
    "data": "digits",
    "fingerprint": "f",
    "train_size": 10,
    "test_size": 5,
    "num_classes": 3,
    "probe": "knn",
    "layers": [],
    "layer": "",
    "shape": [1, 8, 8],
    "width": 64,
    "accuracy": 0.5,
}


@pytest.mark.fault(30)
def test_results_of_probes_are_computed_again(tmp_path: Path) -> None:
    from tutelage.evaluation.features import CONVERSION
    from tutelage.evaluation.probe import PROTOCOLS

    whole = PROBE | {"protocol": dict(PROTOCOLS["knn"]), "conversion": CONVERSION}
    folder = tmp_path / "transfer" / PIXELS / "a"
    storage.commit(folder, {"transfer.json": json.dumps(whole).encode()})
    assert [result.accuracy for result in stored_pixel_results(tmp_path)] == [0.5]
    wrong = {
        "accuracy": [1e308, -0.1, 1.1, "1", None],
        "train_size": [0, -1],
        "test_size": [0],
        "num_classes": [-1],
        "width": [0],
        "shape": [[1, 8], [0, 8, 8], "188"],
        "probe": ["other", 1],
        "layers": ["x", [1]],
    }
    for path, values in wrong.items():
        for value in values:
            storage.commit(folder, {"transfer.json": changed(whole, path, value)})
            assert stored_pixel_results(tmp_path) == (), (path, value)


def test_every_file_of_a_model_has_a_reader() -> None:
    assert set(contents()) == {
        "config.json",
        "evaluation.json",
        "metrics.jsonl",
        "predictions.safetensors",
        "weights.safetensors",
    }


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("path", "value"),
    [("place", -1), ("place", 7), ("input", [0, 8, 8]), ("class_names", "abc"), ("class_names", []), ("lineage", 3)],
)
def test_the_configuration_of_pretrained_weights(path: str, value: Any, tmp_path: Path) -> None:
    model = write(tmp_path, config=changed(config(), path, value))
    assert_refused(
        lambda: read_metadata(str(model.folder)), model.folder / "config.json", "does not describe a model"
    )
