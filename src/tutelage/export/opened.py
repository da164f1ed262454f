"""Open an exported model, whoever it came from, and use it on image files."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tutelage.artifacts.metadata import Contract
from tutelage.data.folder import read_image
from tutelage.export.files import MODEL_JSON, check_bytes, read_model_json
from tutelage.export.find import find_model
from tutelage.export.network import contract_of, rebuilt, runs_code
from tutelage.export.read import SUFFIXES, Program, embedded, line, load_program
from tutelage.storage import Damaged

MAX_VALUES = 1 << 24
"""The most pixel values in one batch of images."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened:
    """A model ready for use: its contract, and its function from images to logits.

    Shapes: ``program`` takes float32 ``[N, C, H, W]`` with values from 0 to 1 and returns float32 ``[N, K]``.
    """

    contract: Contract
    program: Program


def open_model(words: str, runs: Path, *, trust: bool = False) -> Opened:
    """Open an exported file or folder, or whatever :func:`tutelage.export.find_model` finds.

    Errors: ``ValueError`` for what is not there, needs ``trust`` or lacks a package; ``storage.Damaged`` for files
    that were altered.
    """
    path = Path(words)
    if path.suffix in SUFFIXES:
        return open_file(path, trust=trust)
    if (path / MODEL_JSON).is_file():
        return open_folder(path, trust=trust)
    source = find_model(words, runs)
    contract, where = contract_of(source), str(source.model.folder)
    program = rebuilt(contract, source.model.weights(), where, trust=trust or source.own)
    return _tried(contract, program, where)


def open_folder(folder: Path, *, trust: bool = False) -> Opened:
    """Open an exported folder by the file that asks least: no trust, no package that is missing.

    Errors: those of :func:`open_model`.
    """
    listed, contract = read_model_json(folder / MODEL_JSON)
    ready = {
        "weights.safetensors": trust or not runs_code(contract.model),
        "model.onnx": all(importlib.util.find_spec(package) for package in ("onnx", "onnxruntime")),
        "model.pt2": trust,
    }
    present = [name for name in ready if name in listed]
    if not present:
        raise Damaged(f"{folder / MODEL_JSON} lists none of {', '.join(ready)}")
    return open_file(folder / next((name for name in present if ready[name]), present[0]), trust=trust)


def open_file(path: Path, *, trust: bool = False) -> Opened:
    """Open one exported file. It carries its contract; a ``model.json`` beside it that lists it must agree with it.

    Errors: those of :func:`open_model`.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{str(path)!r} is no exported file: expected one that ends in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise FileNotFoundError(f"no file {str(path)!r}")
    data = path.read_bytes()  # once: what is checked is what is used
    beside = None
    if (path.parent / MODEL_JSON).is_file():
        listed, found = read_model_json(path.parent / MODEL_JSON)
        if path.name in listed:
            check_bytes(data, listed[path.name], path)
            beside = found.to_json()
    contract = embedded(data, path)
    inside = contract.to_json()
    if beside is not None and beside != inside:
        differing = ", ".join(name for name in inside if inside[name] != beside[name])
        raise Damaged(f"{path} and the {MODEL_JSON} beside it do not agree on {differing}: one of them was altered")
    return _tried(contract, load_program(data, path, contract, trust=trust), str(path))


@torch.no_grad()
def _tried(contract: Contract, program: Program, where: str) -> Opened:
    """Make sure, on one black image, that a program keeps its contract."""
    try:
        logits = program(torch.zeros(1, contract.channels, contract.height, contract.width))
    except Exception as error:  # whatever its maker left in it
        raise Damaged(f"{where} does not take the images that its contract speaks of: {line(error)}") from None
    if logits.shape != (1, len(contract.class_names)) or logits.dtype != torch.float32:
        raise Damaged(
            f"{where} gives {logits.dtype} scores of shape {list(logits.shape)} for one image; "
            f"its contract names {len(contract.class_names)} classes"
        )
    return Opened(contract=contract, program=program)


@torch.no_grad()
def classify(opened: Opened, paths: Sequence[Path], top: int = 5) -> Iterator[tuple[Path, list[tuple[str, float]]]]:
    """The ``top`` best classes of each image file with their scores (probabilities), best first.

    Images are brought to the model's channels and size as a folder of images is: upright, the middle square.

    Errors: ``ValueError`` for a ``top`` below 1, a model that wants other than square gray or RGB images, and a file
    that is no image, is damaged or has absurdly many pixels.
    """
    contract = opened.contract
    if top < 1:
        raise ValueError(f"top must be at least 1, not {top}")
    if contract.channels not in (1, 3) or contract.height != contract.width:
        raise ValueError(
            f"this model takes images of {contract.channels} channels and {contract.height} x {contract.width} "
            "pixels: image files can only be read as gray or RGB squares"
        )
    at_once = max(1, min(64, MAX_VALUES // (contract.channels * contract.height * contract.width)))
    for start in range(0, len(paths), at_once):
        part = paths[start : start + at_once]
        pixels = torch.stack([read_image(path, contract.channels, contract.height) for path in part])
        scores = opened.program(pixels.float() / 255).softmax(1)
        best = scores.topk(min(top, scores.shape[1]), dim=1)
        for path, values, places in zip(part, best.values.tolist(), best.indices.tolist(), strict=True):
            yield path, [(contract.class_names[k], score) for k, score in zip(places, values, strict=True)]
