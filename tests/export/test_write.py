"""Writing an export: the folder, the comparison with the checkpoint, and what is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch

from tutelage import storage
from tutelage.artifacts.config import model_address
from tutelage.artifacts.metadata import ModelMetadata
from tutelage.artifacts.model import Model
from tutelage.export import ExportResult, FinishedModel, export_model, find_model, load_folder, load_model, write
from tutelage.export.formats import Format, to_bytes
from tutelage.export.network import NormalizedNetwork
from tutelage.export.origin import export_metadata

WEIGHTS: tuple[Format, ...] = ("safetensors",)


def test_what_an_export_holds(exported: ExportResult) -> None:
    names = {"weights.safetensors", "model.pt2", "model.onnx", "README.md", "model.json"}
    assert {path.name for path in exported.folder.iterdir()} == set(exported.files) == names
    model_json = json.loads((exported.folder / "model.json").read_bytes())
    for name, entry in model_json["files"].items():
        data = (exported.folder / name).read_bytes()
        assert entry["size"] == len(data)
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
    assert set(model_json["files"]) == set(exported.differences) == names - {"README.md", "model.json"}
    assert model_json["files"]["model.onnx"]["opset"] >= 18
    assert model_json["checked"] == {"images": "64 test images", "largest_difference": exported.differences}
    assert max(exported.differences.values()) <= 1e-4


def test_an_earlier_export_is_replaced(exported: ExportResult, folder: Path, source: FinishedModel) -> None:
    export_model(source, folder, WEIGHTS, license="MIT")
    assert {path.name for path in folder.iterdir()} == {"weights.safetensors", "README.md", "model.json"}
    assert set(json.loads((folder / "model.json").read_bytes())["files"]) == {"weights.safetensors"}
    same = "weights.safetensors"
    assert (folder / same).read_bytes() == (exported.folder / same).read_bytes()


def test_a_folder_of_something_else_is_left_alone(source: FinishedModel, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(ValueError, match=r"holds 'README\.md' and is not an exported model"):
        export_model(source, tmp_path, WEIGHTS)
    with pytest.raises(ValueError, match="is a file"):
        export_model(source, tmp_path / "README.md", WEIGHTS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.json").write_text("{}")
    with pytest.raises(storage.Damaged, match=r"model\.json is not model metadata of tutelage"):
        export_model(source, tmp_path / "other", WEIGHTS)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_an_interrupted_export_is_no_export_and_can_be_repeated(
    source: FinishedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> tuple[int, str]:
        if path.name == "README.md":
            raise OSError("disk full")
        return real(path, data)

    real = storage.write_bytes
    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_bytes", full)
        with pytest.raises(OSError, match="disk full"):
            export_model(source, tmp_path / "out", WEIGHTS)
    assert not (tmp_path / "out" / "model.json").exists()
    with pytest.raises(storage.Damaged, match="out is not complete: an export to it was interrupted, repeat it"):
        load_model(str(tmp_path / "out"), tmp_path / "runs")
    export_model(source, tmp_path / "out", WEIGHTS)
    assert load_folder(tmp_path / "out").metadata.model == "resnet8"


@pytest.mark.parametrize(("share", "written"), [(0.5, True), (1.5, False)])
def test_a_program_with_other_logits_is_never_written(
    source: FinishedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float, written: bool
) -> None:
    largest = source.model.predictions()["test"][: write.NUM_IMAGES].abs().max().item()
    allowed = 1e-4 * max(1.0, largest)

    def off(network: NormalizedNetwork, metadata: ModelMetadata, formats: tuple[Format, ...]) -> dict[Format, bytes]:
        network.network.classifier.bias.add_(share * allowed)
        return to_bytes(network, metadata, formats)

    monkeypatch.setattr(write, "to_bytes", off)
    if written:
        done = export_model(source, tmp_path / "out", WEIGHTS)
        assert done.differences["weights.safetensors"] == pytest.approx(share * allowed, rel=0.1)
    else:
        with pytest.raises(ValueError, match=r"weights\.safetensors would give other logits than the checkpoint"):
            export_model(source, tmp_path / "out", WEIGHTS)
    assert (tmp_path / "out").exists() == written


def test_logits_that_are_not_numbers_are_other_logits() -> None:
    with pytest.raises(ValueError, match=r"model\.onnx would give other logits .* differ by up to nan"):
        write._largest_difference(torch.full((2, 3), float("nan")), torch.zeros(2, 3), Path("model.onnx"))


def copy_of(source: FinishedModel, folder: Path, metrics: bytes | None = None, **changes: object) -> FinishedModel:
    """A copy of the model in another folder, with changes to its config.json or with other metrics."""
    shutil.copytree(source.model.folder, folder)
    config = json.loads((folder / "config.json").read_bytes()) | changes
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}
    del files["manifest.json"]
    files["config.json"] = storage.json_bytes(config)
    files["metrics.jsonl"] = metrics or files["metrics.jsonl"]
    storage.commit(folder, files)
    with contextlib.suppress(IndexError):
        return dataclasses.replace(source, model=Model(address=model_address(config), folder=folder))
    return dataclasses.replace(source, model=Model(address=folder.name, folder=folder))


def test_without_the_data_random_images_are_used(source: FinishedModel, tmp_path: Path) -> None:
    moved = copy_of(source, tmp_path / "model", data_fingerprint="another")
    done = export_model(moved, tmp_path / "out", WEIGHTS)
    assert done.images == "64 random images"
    assert max(done.differences.values()) <= 1e-4
    lineage = source.model.config()["lineage"]
    lineage["data"]["name"] = "/no/such/place/pets"
    moved = copy_of(source, tmp_path / "gone", lineage=lineage)
    assert export_model(moved, tmp_path / "out", WEIGHTS).images == "64 random images"
    assert b"/no/such" not in (tmp_path / "out" / "model.json").read_bytes()


def test_a_network_whose_code_has_changed_is_noticed(source: FinishedModel, tmp_path: Path) -> None:
    changed = copy_of(source, tmp_path / "model", normalization={"mean": [0.9], "std": [0.05]})
    with pytest.raises(ValueError, match=r"gives other logits for the test images .* its code has changed since"):
        export_model(changed, tmp_path / "out", WEIGHTS)


def test_a_config_that_describes_no_model(source: FinishedModel, tmp_path: Path) -> None:
    broken = copy_of(source, tmp_path / "model", place=5)
    with pytest.raises(storage.Damaged, match=r"config\.json has no lineage\.generations\.5\.model"):
        export_model(broken, tmp_path / "out", WEIGHTS)


def test_weights_of_another_network(source: FinishedModel, tmp_path: Path) -> None:
    lineage = source.model.config()["lineage"]
    lineage["generations"][1]["model"] = "resnet14"
    other = copy_of(source, tmp_path / "model", lineage=lineage)
    with pytest.raises(
        ValueError, match=r"the weights of .*model do not fit the network: \d+ of \d+ tensors are missing"
    ):
        export_model(other, tmp_path / "out", WEIGHTS)


@pytest.mark.fault(28)
def test_a_foreign_model_may_not_name_code_to_run(source: FinishedModel, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    lineage = source.model.config()["lineage"]
    lineage["generations"][1]["model"] = f"{tmp_path / 'mine.py'}:net"
    copy_of(source, tmp_path / "model", lineage=lineage)
    with pytest.raises(ValueError, match="importing it runs its code: add --trust"):
        export_model(find_model(str(tmp_path / "model"), runs), tmp_path / "out", WEIGHTS)
    assert not (tmp_path / "ran").exists()


def test_no_format_and_no_licence(source: FinishedModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="export needs a format: safetensors, torch, onnx"):
        export_model(source, tmp_path / "out", ())
    with pytest.raises(ValueError, match="a licence is an identifier such as"):
        export_model(source, tmp_path / "out", WEIGHTS, license="mit\nlibrary_name: evil")


def test_the_trained_model_is_left_as_it_was(exported: ExportResult, source: FinishedModel) -> None:
    storage.verify(source.model.folder)
    assert torch.get_num_threads() == 1


def test_a_test_set_that_was_watched_is_disclosed(
    exported: ExportResult, source: FinishedModel, tmp_path: Path
) -> None:
    assert export_metadata(source).about["test_set_watched"] is False
    watched = copy_of(source, tmp_path / "model", metrics=b'{"epoch": 0, "test/top1": 0.5}\n')
    assert export_metadata(watched).about["test_set_watched"] is True


def test_a_model_whose_objective_has_no_formula(source: FinishedModel, tmp_path: Path) -> None:
    lineage = source.model.config()["lineage"]
    lineage["generations"][1]["weights"] = "/home/somebody/teacher.pth"
    pretrained = copy_of(source, tmp_path / "pretrained", lineage=lineage)
    assert export_metadata(pretrained).about["method"] == "none: pretrained weights from teacher.pth"
    lineage["generations"][1] |= {"weights": None, "objective": {"is": "mine:Objective"}}
    own = copy_of(source, tmp_path / "own", lineage=lineage)
    assert export_metadata(own).about["method"] == "an objective with user-defined terms"
