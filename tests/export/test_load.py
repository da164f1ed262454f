"""Loading exported files: single, altered, malformed, hostile; and classifying images with them."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.external_data_helper import convert_model_to_external_data
from PIL import Image
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file

from tests.export.forge import forge_onnx, forge_pt2, forge_weights, metadata_of
from tutelage.data import Dataset
from tutelage.export import ExportResult, LoadedModel, classify, load_file, load_folder, load_model
from tutelage.storage import Damaged

FILES = ("weights.safetensors", "model.pt2", "model.onnx")


@pytest.mark.parametrize("file", FILES)
def test_a_single_file_is_enough(exported: ExportResult, tmp_path: Path, file: str) -> None:
    bare = tmp_path / f"renamed{Path(file).suffix}"
    shutil.copy(exported.folder / file, bare)
    loaded = load_file(bare, trust=True)
    assert loaded.metadata == load_folder(exported.folder).metadata
    assert loaded.program(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_every_kind_of_model_loads(exported: ExportResult, runs: Path, name: str, tmp_path: Path) -> None:
    images = torch.rand(4, 1, 8, 8)
    loaded = [load_model(words, runs) for words in (name, str(exported.folder), f"{exported.folder}/model.onnx")]
    first, *others = [one.program(images) for one in loaded]
    for other in others:
        assert (first - other).abs().max() <= 1e-4


@pytest.mark.parametrize("file", FILES)
def test_a_flipped_bit_is_noticed(folder: Path, file: str) -> None:
    data = bytearray((folder / file).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / file).write_bytes(data)
    with pytest.raises(Damaged, match=rf"{file} was altered: it has SHA-256 \w{{12}}\.\.\., model\.json says"):
        load_file(folder / file, trust=True)
    (folder / file).write_bytes(data[:-1])
    with pytest.raises(Damaged, match=rf"{file} was altered: it has \d+ bytes"):
        load_file(folder / file, trust=True)


def test_a_model_json_that_disagrees_is_noticed(folder: Path) -> None:
    model_json = json.loads((folder / "model.json").read_bytes())
    model_json["class_names"].reverse()
    (folder / "model.json").write_text(json.dumps(model_json))
    with pytest.raises(Damaged, match="do not agree on class_names: one of them was altered"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as JSON"),
        ("{}", "it has no 'format'"),
        ('{"files": 3}', "it has no 'format'"),
    ],
)
def test_a_model_json_that_is_none(folder: Path, text: str, message: str) -> None:
    (folder / "model.json").write_text(text)
    with pytest.raises(Damaged, match=message):
        load_folder(folder)
    with pytest.raises(Damaged, match=message):
        load_file(folder / "model.onnx")


@pytest.mark.parametrize(
    "files",
    [
        None,
        [],
        {"model.onnx": None},
        {"model.onnx": {"size": "x", "sha256": ""}},
        {"../secret": {"size": 1, "sha256": ""}},
    ],
)
def test_a_model_json_without_its_files(folder: Path, files: object) -> None:
    model_json = json.loads((folder / "model.json").read_bytes())
    (folder / "model.json").write_text(json.dumps(model_json | {"files": files}))
    with pytest.raises(Damaged, match="does not list its files"):
        load_folder(folder)
    (folder / "model.json").write_text(json.dumps(model_json | {"files": {}}))
    with pytest.raises(Damaged, match=r"lists none of weights\.safetensors, model\.onnx, model\.pt2"):
        load_folder(folder)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("data", [b"", b"\x00" * 64, b"PK\x03\x04", b"\xff" * 64])
def test_bytes_of_something_else(tmp_path: Path, file: str, data: bytes) -> None:
    (tmp_path / file).write_bytes(data)
    with pytest.raises(Damaged, match=rf"{file} (cannot be read|holds no metadata)"):
        load_file(tmp_path / file)


def test_files_without_metadata(exported: ExportResult, tmp_path: Path) -> None:
    save_file(load_tensors(exported.folder / "weights.safetensors"), tmp_path / "a.safetensors")
    model = onnx.load_model(exported.folder / "model.onnx")
    model.ClearField("metadata_props")
    onnx.save_model(model, tmp_path / "a.onnx")
    with zipfile.ZipFile(tmp_path / "a.pt2", "w") as archive:
        archive.writestr("a/archive_format", "pt2")
    for suffix in ("safetensors", "onnx", "pt2"):
        with pytest.raises(Damaged, match=rf"a\.{suffix} holds no metadata: expected a file that `tutelage export`"):
            load_file(tmp_path / f"a.{suffix}")


def test_what_is_not_there(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file '.*none\.onnx'"):
        load_model(str(tmp_path / "none.onnx"), runs)
    with pytest.raises(ValueError, match=r"expected one that ends in \.safetensors, \.pt2, \.onnx"):
        load_file(tmp_path / "model.pth")


@pytest.mark.fault(28)
def test_a_pt2_runs_nothing_unless_trusted(exported: ExportResult, tmp_path: Path) -> None:
    """The file is complete and its metadata valid, but its sample inputs are a pickle that runs a command."""

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    evil = tmp_path / "model.pt2"
    shutil.copy(exported.folder / "model.pt2", evil)
    forge_pt2(evil, {"sample_inputs/model.pt": pickle.dumps(Payload())}, metadata_of(exported.folder))
    with pytest.raises(ValueError, match="loading one can run any code in it: add --trust"):
        load_file(evil)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(Damaged, match="cannot be read"):
        load_file(evil, trust=True)
    assert (tmp_path / "ran").exists(), "torch.export.load has stopped unpickling: the refusal can go"


def test_a_folder_opens_without_its_pt2(folder: Path) -> None:
    (folder / "model.pt2").write_bytes(b"not a program")
    assert load_folder(folder).metadata.model == "resnet8"


def rewritten(folder: Path, **changes: object) -> Path:
    """The weights with other metadata, as a stranger could write them."""
    weights = forge_weights(folder / "weights.safetensors", metadata_of(folder) | changes)
    (folder / "model.json").unlink()
    return weights


@pytest.mark.fault(28)
def test_weights_may_not_name_code_to_run(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    weights = rewritten(folder, model=f"{tmp_path / 'evil.py'}:net")
    with pytest.raises(ValueError, match="importing it runs its code: add --trust"):
        load_file(weights)
    assert not (tmp_path / "ran").exists()


def test_a_folder_with_somebodys_own_network_opens_by_its_onnx_file(folder: Path) -> None:
    model_json = json.loads((folder / "model.json").read_bytes())
    path = folder / "model.onnx"
    forge_onnx(path, onnx.load_model(path), metadata_of(folder) | {"model": "evil.py:net"})
    data = path.read_bytes()
    import hashlib

    model_json["files"]["model.onnx"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "model.json").write_text(json.dumps(model_json | {"model": "evil.py:net"}))
    assert load_folder(folder).program(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "resnet14"}, r"do not fit the network: \d+ of \d+ tensors are missing"),
        ({"model": "resnet9"}, "unknown model 'resnet9': did you mean"),
        ({"class_names": ["one"]}, "knows 10 classes, the network 1"),
        ({"normalization": {"mean": [0.1, 0.2], "std": [1, 1]}}, "expected 1 finite numbers"),
        ({"format": 99}, r"the metadata in .* it has format 99"),
    ],
)
def test_metadata_that_does_not_fit_the_weights(folder: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_file(rewritten(folder, **changes))


def change_onnx(folder: Path, **changes: object) -> Path:
    path = folder / "model.onnx"
    forge_onnx(path, onnx.load_model(path), metadata_of(folder) | changes)
    (folder / "model.json").unlink()
    return path


def test_a_graph_that_does_not_match_its_metadata(folder: Path) -> None:
    path = change_onnx(folder, class_names=["one", "two"])
    with pytest.raises(Damaged, match=r"returns torch\.float32 logits of shape \[1, 10\] .* names 2 classes"):
        load_file(path)


def test_a_graph_for_other_images(folder: Path) -> None:
    size = {"channels": 1, "height": 16, "width": 16}
    with pytest.raises(Damaged, match="does not accept the images that its metadata names"):
        load_file(change_onnx(folder, input=size))


@pytest.mark.fault(28)
def test_onnx_weights_outside_the_file_are_not_read(folder: Path, tmp_path: Path) -> None:
    model = onnx.load_model(folder / "model.onnx")
    convert_model_to_external_data(model, location="elsewhere.bin", size_threshold=0)
    onnx.save_model(model, tmp_path / "model.onnx")
    forge_onnx(
        tmp_path / "model.onnx",
        onnx.load_model(tmp_path / "model.onnx", load_external_data=False),
        metadata_of(folder),
    )
    with pytest.raises(Damaged, match="keeps weights in other files, which are not read"):
        load_file(tmp_path / "model.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_reading_onnx_without_its_packages(
    exported: ExportResult, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"needs the package {package}: pip install 'tutelage\[export\]'"):
        load_file(exported.folder / "model.onnx")


@pytest.fixture(scope="module")
def loaded(exported: ExportResult) -> LoadedModel:
    return load_folder(exported.folder)


def test_images_get_their_best_classes(
    loaded: LoadedModel, digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tutelage.export.load.MAX_BATCH_VALUES", 3 * 64)  # three per batch
    paths = [tmp_path / f"{number}.png" for number in range(7)]
    for number, path in enumerate(paths):
        Image.fromarray(digits.images[number, 0].numpy()).save(path)
    best = dict(classify(loaded, paths, top=3))
    assert list(best) == paths
    logits = loaded.program(digits.images[:7].float() / 255)
    for number, path in enumerate(paths):
        scores, places = logits[number].softmax(0).sort(descending=True)
        assert [name for name, _ in best[path]] == [str(k) for k in places[:3].tolist()]
        np.testing.assert_allclose([score for _, score in best[path]], scores[:3].tolist(), atol=1e-6)


def test_top_is_at_most_all_classes(loaded: LoadedModel, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (200, 10, 10)).save(tmp_path / "red.png")
    ((_, best),) = classify(loaded, [tmp_path / "red.png"], top=99)
    assert len(best) == 10
    assert sum(score for _, score in best) == pytest.approx(1)
    with pytest.raises(ValueError, match="top must be at least 1, not 0"):
        next(classify(loaded, [tmp_path / "red.png"], top=0))


def test_images_that_are_none(loaded: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    for path, message in [
        (tmp_path / "text.png", r"text\.png' is not an image"),
        (tmp_path / "none.png", r"none\.png' cannot be read"),
        (tmp_path, "is a folder, not a file"),
    ]:
        with pytest.raises(ValueError, match=message):
            list(classify(loaded, [path]))


def test_a_model_of_other_images_than_files_hold(loaded: LoadedModel) -> None:
    import dataclasses

    wide = dataclasses.replace(loaded, metadata=dataclasses.replace(loaded.metadata, width=9))
    with pytest.raises(ValueError, match="takes images of 1 channels and 8 x 9 pixels"):
        list(classify(wide, [Path("any.png")]))
