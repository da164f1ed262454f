"""Export a finished model: write it, read it back, compare it with the checkpoint on real images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tutelage import paths, serialization, storage
from tutelage.artifacts.metadata import Contract, parse
from tutelage.data import DataConfig
from tutelage.data.load import load
from tutelage.engine import Engine
from tutelage.evaluation import predict
from tutelage.export.card import card, checked_license
from tutelage.export.files import CARD, MODEL_JSON, read_model_json
from tutelage.export.find import Source
from tutelage.export.formats import FILES, Format, check_packages, optional, to_bytes
from tutelage.export.network import Deployed, contract_of, rebuilt
from tutelage.export.read import embedded, load_program

TOLERANCE = 1e-4
"""The largest difference from the checkpoint's float32 logits, relative where these are larger than 1."""
SAME_MODEL = 0.1
"""The largest relative difference from the logits measured when the model was trained, maybe in bf16."""
IMAGES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export wrote: ``differences`` are the largest from the checkpoint, on ``images``."""

    folder: Path
    files: tuple[str, ...]
    differences: dict[str, float]
    images: str


def export_model(
    source: Source,
    folder: Path,
    formats: Sequence[Format] = tuple(FILES),
    *,
    license: str = "unknown",
    trust: bool = False,
) -> Exported:
    """Write a finished model to a folder, in each of the formats, with ``model.json`` and a model card.

    Each format is read back and run before anything is written: on test images where the dataset is on this machine,
    else on made-up ones. ``model.json`` comes last, and makes the folder an exported model.

    Errors: ``ValueError`` for a folder that holds something else, a network that cannot be exported, a package that
    is missing, or an exported program that gives other logits than the checkpoint.
    """
    chosen = tuple(dict.fromkeys(formats))
    if not chosen:
        raise ValueError(f"export needs a format: {', '.join(FILES)}")
    checked_license(license)
    check_packages(chosen)
    _check_folder(folder)
    contract = _plain(contract_of(source))
    deployed = rebuilt(contract, source.model.weights(), str(source.model.folder), trust=trust or source.own)
    images, measured, kind = _images(source, contract)
    expected = _reference(deployed, contract, images)
    if measured is not None:
        _check_same_model(expected, measured, contract)
    written = to_bytes(deployed, contract, chosen)
    differences = {}
    for name, data in written.items():
        path = Path(FILES[name])
        program = load_program(data, path, embedded(data, path), trust=True)  # our own bytes, of a moment ago
        with torch.no_grad():
            differences[FILES[name]] = _check_equal(program(images.float() / 255), expected, path)
    entries: dict[str, dict[str, Any]] = {}
    for name, data in written.items():
        size, sha256 = storage.write_bytes(folder / FILES[name], data)
        entries[FILES[name]] = {"size": size, "sha256": sha256} | _note(name, data)
    storage.write_bytes(folder / CARD, card(contract, source, entries, license).encode())
    checked = {"images": kind, "largest_difference": differences}
    storage.write_bytes(
        folder / MODEL_JSON, storage.json_bytes(contract.to_json() | {"files": entries, "checked": checked})
    )
    for stale in set(FILES.values()) - set(entries):
        (folder / stale).unlink(missing_ok=True)  # of an earlier export with more formats
    return Exported(folder=folder, files=(*entries, CARD, MODEL_JSON), differences=differences, images=kind)


def _check_folder(folder: Path) -> None:
    """Only a new folder, an earlier export or what a killed one left is written to."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is a file: expected a folder to export to")
    if (folder / MODEL_JSON).is_file():
        read_model_json(folder / MODEL_JSON)
        return
    others = [path.name for path in folder.glob("*") if path.name not in FILES.values()] if folder.is_dir() else []
    if others:
        raise ValueError(
            f"{str(folder)!r} holds {sorted(others)[0]!r} and is not an exported model: "
            "choose another folder with --to"
        )


def _plain(contract: Contract) -> Contract:
    """The contract as it will be read back, so that both compare equal."""
    return parse(json.loads(contract.text()), "the contract")


def _note(name: Format, data: bytes) -> dict[str, Any]:
    if name != "onnx":
        return {}
    onnx = optional("onnx", "export", "writing ONNX")
    return {"opset": onnx.load_model_from_string(data).opset_import[0].version, "onnx": onnx.__version__}


def _images(source: Source, contract: Contract) -> tuple[Tensor, Tensor | None, str]:
    """Images to check on, uint8; of test images also the logits that were measured when the model was trained."""
    made_of = source.made_of()
    try:
        data = serialization.from_json(made_of["lineage"]["data"])
        assert isinstance(data, DataConfig)
        splits = load(data, paths.data_folder())
    except (ValueError, OSError):  # not on this machine
        splits = None
    if splits is None or splits.fingerprint != made_of["data_fingerprint"]:
        shape = (IMAGES, contract.channels, contract.height, contract.width)
        made_up = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        return made_up, None, f"{IMAGES} made-up images"
    images = splits.test.images[:IMAGES]
    return images, source.model.predictions()["test"][:IMAGES], f"{len(images)} test images"


def _reference(deployed: Deployed, contract: Contract, images: Tensor) -> Tensor:
    """What the checkpoint says, in float32, on the way that training measures it."""
    engine = Engine(torch.device("cpu"), "fp32", torch.get_num_threads())
    return predict(deepcopy(deployed.network), images, contract.normalization, engine)


def _check_same_model(found: Tensor, measured: Tensor, contract: Contract) -> None:
    difference = ((found - measured).norm() / measured.norm().clamp_min(1e-12)).item()
    if not difference <= SAME_MODEL:
        raise ValueError(
            f"the network {contract.model!r} gives other logits for the test images than when it was trained "
            f"(relative difference {difference:.2g}): its code has changed since"
        )


def _check_equal(found: Tensor, expected: Tensor, path: Path) -> float:
    """The largest absolute difference, if it is one of rounding."""
    difference = (found - expected).abs().max().item()
    if not difference <= TOLERANCE * max(1.0, expected.abs().max().item()):
        raise ValueError(
            f"{path} would give other logits than the checkpoint: they differ by up to {difference:.2g}, "
            f"and {TOLERANCE:g} is allowed; nothing was written"
        )
    return difference
