"""Export a finished model: write each format, read it back, and compare it with the checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tutelage import paths, serialization, storage
from tutelage.artifacts.metadata import ModelMetadata, parse
from tutelage.data import DataConfig
from tutelage.data.load import load
from tutelage.engine import Engine
from tutelage.evaluation import predict
from tutelage.export.card import license_identifier, model_card
from tutelage.export.find import FinishedModel
from tutelage.export.formats import FILE_NAMES, Format, check_packages, import_optional, to_bytes
from tutelage.export.model_json import CARD_FILE, INCOMPLETE, MODEL_JSON, read_model_json
from tutelage.export.network import NormalizedNetwork, build_network
from tutelage.export.origin import export_metadata
from tutelage.export.read import embedded_metadata, load_program

TOLERANCE = 1e-4
"""The largest difference from the checkpoint's float32 logits, relative where these are larger than 1."""
STORED_TOLERANCE = 0.1
"""The largest relative difference from the logits stored after training, which may have been computed in bf16."""
NUM_IMAGES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What an export wrote, and the largest difference of each file's logits from the checkpoint's, on ``images``."""

    folder: Path
    files: tuple[str, ...]
    differences: dict[str, float]
    images: str


class _ComparisonImages(NamedTuple):
    """The images on which formats are compared, uint8 ``[N, C, H, W]``.

    ``stored_logits`` are the model's logits for them that were stored after training, None for random images.
    """

    images: Tensor
    stored_logits: Tensor | None
    description: str


def export_model(
    source: FinishedModel,
    folder: Path,
    formats: Sequence[Format] = tuple(FILE_NAMES),
    *,
    license: str = "unknown",
    trust: bool = False,
) -> ExportResult:
    """Write a finished model to a folder in each of the formats, with ``model.json`` and a model card.

    Each format is read back and run before anything is written: on test images where the dataset is on this machine,
    otherwise on random images. A folder is marked until all of its files are written; an export that was interrupted
    is completed by repeating it.

    Errors: ``ValueError`` for a folder that holds something else, a network that cannot be exported, a package that
    is not installed, or an exported program whose logits differ from the checkpoint's.
    """
    unique_formats = tuple(dict.fromkeys(formats))
    if not unique_formats:
        raise ValueError(f"export needs a format: {', '.join(FILE_NAMES)}")
    license_identifier(license)
    check_packages(unique_formats)
    _check_folder(folder)
    metadata = _round_trip(export_metadata(source))
    where = str(source.model.folder)
    network = build_network(metadata, source.model.weights(), where, trust=trust or source.trusted)
    comparison = _comparison_images(source, metadata)
    expected = _checkpoint_logits(network, metadata, comparison.images)
    if comparison.stored_logits is not None:
        _check_same_network(expected, comparison.stored_logits, metadata)
    contents = to_bytes(network, metadata, unique_formats)
    differences = {
        FILE_NAMES[name]: _difference_when_read_back(data, Path(FILE_NAMES[name]), comparison.images, expected)
        for name, data in contents.items()
    }
    checked = {"images": comparison.description, "largest_difference": differences}
    files = _write_folder(folder, contents, metadata, source, license, checked)
    return ExportResult(folder=folder, files=files, differences=differences, images=comparison.description)


def _check_folder(folder: Path) -> None:
    """Check that a folder is new, an earlier export, or an export that was interrupted."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is a file: expected a folder to export to")
    if (folder / INCOMPLETE).is_file():
        return
    if (folder / MODEL_JSON).is_file():
        read_model_json(folder / MODEL_JSON)
        return
    names = [path.name for path in folder.glob("*")] if folder.is_dir() else []
    foreign = sorted(name for name in names if not name.startswith("."))  # .partial-*, of a kill; .git
    if foreign:
        raise ValueError(
            f"{str(folder)!r} holds {foreign[0]!r} and is not an exported model: choose another folder with --to"
        )


def _round_trip(metadata: ModelMetadata) -> ModelMetadata:
    """The metadata as it will be read back, so that both compare equal."""
    return parse(json.loads(metadata.text()), "the metadata")


def _comparison_images(source: FinishedModel, metadata: ModelMetadata) -> _ComparisonImages:
    """The first test images where the dataset is on this machine and unchanged, otherwise random images."""
    config = source.model.config()
    try:
        data = serialization.from_json(config["lineage"]["data"])
        assert isinstance(data, DataConfig)
        splits = load(data, paths.data_folder())
    except (ValueError, OSError):  # the dataset is not on this machine
        splits = None
    if splits is None or splits.fingerprint != config["data_fingerprint"]:
        shape = (NUM_IMAGES, metadata.channels, metadata.height, metadata.width)
        images = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        return _ComparisonImages(images, None, f"{NUM_IMAGES} random images")
    images = splits.test.images[:NUM_IMAGES]
    logits = source.model.predictions()["test"][:NUM_IMAGES]
    return _ComparisonImages(images, logits, f"{len(images)} test images")


def _checkpoint_logits(network: NormalizedNetwork, metadata: ModelMetadata, images: Tensor) -> Tensor:
    """The checkpoint's logits in float32, computed as after training."""
    engine = Engine(torch.device("cpu"), "fp32", torch.get_num_threads())
    return predict(deepcopy(network.network), images, metadata.normalization, engine)


def _check_same_network(logits: Tensor, stored_logits: Tensor, metadata: ModelMetadata) -> None:
    """Check that the rebuilt network is the one that was trained, whose code may have been edited since."""
    difference = ((logits - stored_logits).norm() / stored_logits.norm().clamp_min(1e-12)).item()
    if not difference <= STORED_TOLERANCE:  # also for nan
        raise ValueError(
            f"the network {metadata.model!r} gives other logits for the test images than when it was trained "
            f"(relative difference {difference:.2g}): its code has changed since"
        )


def _difference_when_read_back(data: bytes, path: Path, images: Tensor, expected: Tensor) -> float:
    """Run the program in an exported file; the largest absolute difference of its logits from the expected ones."""
    # Trusted, since these are the bytes that this process has just made.
    program = load_program(data, path, embedded_metadata(data, path), trust=True)
    with torch.no_grad():
        logits = program(images.float() / 255)
    return _largest_difference(logits, expected, path)


def _largest_difference(logits: Tensor, expected: Tensor, path: Path) -> float:
    """The largest absolute difference from the expected logits; an error where rounding does not explain it."""
    difference = (logits - expected).abs().max().item()
    if not difference <= TOLERANCE * max(1.0, expected.abs().max().item()):  # also for nan
        raise ValueError(
            f"{path} would give other logits than the checkpoint: they differ by up to {difference:.2g}, "
            f"and {TOLERANCE:g} is allowed; nothing was written"
        )
    return difference


def _write_folder(
    folder: Path,
    contents: Mapping[Format, bytes],
    metadata: ModelMetadata,
    source: FinishedModel,
    license: str,
    checked: Mapping[str, Any],
) -> tuple[str, ...]:
    """Write the exported files, the model card and ``model.json``; returns their names.

    Wherever this is interrupted, the folder says that it is not complete, and may be written by the same command.
    """
    storage.write_bytes(folder / INCOMPLETE, b"An export by tutelage was interrupted here. Repeat it.\n")
    entries: dict[str, dict[str, Any]] = {}
    for name, data in contents.items():
        size, sha256 = storage.write_bytes(folder / FILE_NAMES[name], data)
        versions = _onnx_versions(data) if name == "onnx" else {}
        entries[FILE_NAMES[name]] = {"size": size, "sha256": sha256, **versions}
    storage.write_bytes(folder / CARD_FILE, model_card(metadata, source, entries, license).encode())
    model_json = metadata.to_json() | {"files": entries, "checked": checked}
    storage.write_bytes(folder / MODEL_JSON, storage.json_bytes(model_json))
    for obsolete in sorted(set(FILE_NAMES.values()) - set(entries)):  # of an earlier export with more formats
        if (folder / obsolete).exists():
            storage.remove_file(folder / obsolete)
    storage.remove_file(folder / INCOMPLETE)
    return (*entries, CARD_FILE, MODEL_JSON)


def _onnx_versions(data: bytes) -> dict[str, Any]:
    onnx = import_optional("onnx", "export", "writing ONNX")
    return {"opset": onnx.load_model_from_string(data).opset_import[0].version, "onnx": onnx.__version__}
