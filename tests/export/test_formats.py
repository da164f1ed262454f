"""The three formats: the same logits, the whole metadata in each, nothing else."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from pathlib import Path

import onnx
import pytest
import torch
from safetensors import safe_open
from torch import nn

from tutelage.artifacts.metadata import ModelMetadata, parse
from tutelage.data import Dataset, Normalization
from tutelage.engine import Engine
from tutelage.evaluation import predict
from tutelage.export import ExportResult, FinishedModel, load_file
from tutelage.export.formats import check_packages, to_bytes
from tutelage.export.network import NormalizedNetwork
from tutelage.export.read import embedded_metadata, load_program
from tutelage.models.build import build

FILES = ("weights.safetensors", "model.pt2", "model.onnx")


@pytest.mark.parametrize("file", FILES)
def test_a_thousand_images_get_the_logits_of_the_checkpoint(
    exported: ExportResult, source: FinishedModel, digits: Dataset, file: str
) -> None:
    config = source.model.config()
    network = build("resnet8", 10, 1)
    network.load_state_dict(source.model.weights())
    normalization = Normalization(tuple(config["normalization"]["mean"]), tuple(config["normalization"]["std"]))
    images = digits.images[:1000]
    assert len(images) == 1000
    expected = predict(network, images, normalization, Engine.choose("cpu", "fp32", 1))
    assert torch.equal(expected, source.model.predictions()["test"][:1000])
    loaded = load_file(exported.folder / file, trust=True)
    with torch.no_grad():
        logits = torch.cat([loaded.program(part.float() / 255) for part in images.split(77)])
    assert logits.shape == (1000, 10)
    assert (logits - expected).abs().max() <= 1e-4
    best, second = expected.topk(2).values.unbind(1)
    clear = best - second > 2e-4  # of two that are closer the processor's rounding may prefer either
    assert clear.sum() > 990
    assert torch.equal(logits.argmax(1)[clear], expected.argmax(1)[clear])


def test_each_format_holds_the_metadata(exported: ExportResult) -> None:
    folder = exported.folder
    model_json = json.loads((folder / "model.json").read_bytes())
    metadata = parse(model_json, "model.json")
    assert metadata.model == "resnet8"
    assert metadata.class_names == tuple("0123456789")
    assert metadata.about["data"] == {
        "name": "digits",
        "train_size": 300,
        "test_size": None,
        "fingerprint": metadata.about["data"]["fingerprint"],
        "mark": "",
    }
    assert metadata.about["teachers"][0]["model"] == "resnet14"
    with safe_open(folder / "weights.safetensors", "pt") as file:
        in_weights = json.loads(file.metadata()["tutelage"])
    properties = onnx.load_model(folder / "model.onnx").metadata_props
    in_onnx = json.loads(next(entry.value for entry in properties if entry.key == "tutelage"))
    extra = {"tutelage.json": ""}
    torch.export.load(folder / "model.pt2", extra_files=extra)
    inside = in_weights, in_onnx, json.loads(extra["tutelage.json"])
    assert len({content.pop("sha256") for content in inside}) == 3
    assert all(content == metadata.to_json() for content in inside)


def test_weights_are_the_networks_own(exported: ExportResult, source: FinishedModel) -> None:
    network = build("resnet8", 10, 1)
    with safe_open(exported.folder / "weights.safetensors", "pt") as file:
        network.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
    for key, tensor in source.model.weights().items():
        assert torch.equal(network.state_dict()[key], tensor), key


def test_nothing_is_pickled_and_no_path_of_this_machine_is_inside(exported: ExportResult) -> None:
    here = str(Path(__file__).parents[2]).encode()
    with zipfile.ZipFile(exported.folder / "model.pt2") as archive:
        parts = {entry.filename.partition("/")[2]: archive.read(entry) for entry in archive.infolist()}
    assert parts["data/sample_inputs/model.pt"] == b""
    assert b'"use_pickle": true' not in parts["data/weights/model_weights_config.json"]
    assert not any(here in part for part in parts.values())
    for file in ("weights.safetensors", "model.onnx", "model.json", "README.md"):
        assert here not in (exported.folder / file).read_bytes()


def metadata_for(model: str, channels: int, size: int, normalization: Normalization) -> ModelMetadata:
    return ModelMetadata(
        model=model,
        channels=channels,
        height=size,
        width=size,
        normalization=normalization,
        class_names=("a", "b", "c"),
    )


def test_a_network_with_another_input_size_gets_it() -> None:
    torch.manual_seed(0)
    normalization = Normalization((0.4, 0.5, 0.6), (0.2, 0.3, 0.4), size=12)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 12 * 12, 3))
    metadata = metadata_for("mine:net", 3, 8, normalization)
    normalized = NormalizedNetwork(network, normalization).eval()
    pixels = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        expected = network(normalization.apply(pixels))
        assert (normalized(pixels.float() / 255) - expected).abs().max() <= 1e-5
        for name, data in to_bytes(normalized, metadata, ("torch", "onnx")).items():
            path = Path("model.pt2" if name == "torch" else "model.onnx")
            assert embedded_metadata(data, path) == metadata
            logits = load_program(data, path, metadata, trust=True)(pixels.float() / 255)
            assert (logits - expected).abs().max() <= 1e-4


class Stubborn(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :3] * float(x.sum().item() > 0)


def test_a_network_that_cannot_be_traced_says_so() -> None:
    normalization = Normalization((0.5,), (0.5,))
    metadata = metadata_for("stubborn:net", 1, 8, normalization)
    with pytest.raises(ValueError, match=r"'stubborn:net' cannot be traced for any number of images: .*safetensors"):
        to_bytes(NormalizedNetwork(Stubborn(), normalization), metadata, ("torch",))


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ValueError, match=rf"writing ONNX needs the package {package}: pip install 'tutelage\[export\]'"
    ):
        check_packages(("safetensors", "onnx"))
    check_packages(("safetensors", "torch"))


def test_a_pt2_opens_with_torch_alone(exported: ExportResult) -> None:
    program = torch.export.load(io.BytesIO((exported.folder / "model.pt2").read_bytes())).module()
    for count in (1, 3):
        assert program(torch.zeros(count, 1, 8, 8)).shape == (count, 10)
