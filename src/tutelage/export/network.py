"""A trained network made ready to leave: rebuilt, its weights in, its normalization inside."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tutelage import serialization
from tutelage.artifacts.metadata import Contract, read_normalization
from tutelage.data import Normalization
from tutelage.data.load import names as data_names
from tutelage.export.find import Source
from tutelage.models.build import build
from tutelage.models.external import is_external
from tutelage.models.weights import fit_weights
from tutelage.storage import Damaged

MEASURES = ("top1", "top5", "nll", "ece")


class Deployed(nn.Module):
    """A network that takes images with values from 0 to 1: what ``Normalization`` does stands before its first layer.

    Formula: ``logits = network((resize(images) - mean) / std)``, with mean and std by channel; resized only for a
    network that wants another size.

    Shapes: images float32 ``[N, C, H, W]``, logits float32 ``[N, K]``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, normalization: Normalization) -> None:
        super().__init__()
        self.network = network
        self.size = normalization.size
        self.register_buffer("mean", torch.tensor(normalization.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(normalization.std)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """The logits of images."""
        if self.size is not None and tuple(images.shape[2:]) != (self.size, self.size):
            images = nn.functional.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


def contract_of(source: Source) -> Contract:
    """The contract of a finished model, from what its folder says.

    Errors: ``storage.Damaged`` for a ``config.json`` that lacks something.
    """
    made_of = source.made_of()
    try:
        channels, height, width = made_of["input"]
        return Contract(
            model=_generation(made_of)["model"],
            channels=channels,
            height=height,
            width=width,
            normalization=read_normalization(made_of["normalization"]),
            class_names=tuple(made_of["class_names"]),
            about=_about(source, made_of),
        )
    except Damaged:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:
        where = source.model.folder / "config.json"
        raise Damaged(f"{where} does not describe a model: {type(error).__name__} {error}") from None


def _generation(made_of: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made_of["lineage"]["generations"][made_of["place"]]
    return found


def _about(source: Source, made_of: dict[str, Any]) -> dict[str, Any]:
    """Where the model comes from, as plain JSON for people to read; no path of this machine is in it."""
    lineage, generation = made_of["lineage"], _generation(made_of)
    name = lineage["data"]["name"]
    teachers = [
        {"generation": teacher["name"], "model": teacher["model"], "address": address}
        for place, address in zip(generation["teachers"], made_of["teachers"], strict=True)
        for teacher in [lineage["generations"][place]]
    ]
    return {
        "address": source.model.address,
        "data": {
            "name": name if name in data_names() else Path(name).name,
            "train_size": lineage["data"]["train_size"],
            "test_size": lineage["data"].get("test_size"),  # older models have none
            "fingerprint": made_of["data_fingerprint"],
        },
        "lineage": lineage["name"],
        "generation": generation["name"],
        "method": _method(generation),
        "epochs": generation["schedule"]["epochs"],
        "test_set_watched": any(name.startswith("test/") for line in source.model.metrics() for name in line),
        "seed": made_of["lineage_seed"],
        "precision": made_of["precision"],
        "teachers": teachers,
        "measured": {
            part: {measure: found[measure] for measure in MEASURES}
            for part, found in source.model.evaluation().items()
            if part != "train"
        },
        "versions": {
            "tutelage": version("tutelage"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def _method(generation: dict[str, Any]) -> str:
    if generation.get("weights") is not None:
        return f"nothing: its weights were given, {Path(generation['weights']).name}"
    try:
        return str(serialization.from_json(generation["objective"]))
    except ValueError:  # a term of the user's own, whose code may be elsewhere by now
        return "an objective with terms of the user's own"


def runs_code(model: str) -> bool:
    """Whether building a network of this name runs code that neither tutelage nor a library it knows brought.

    >>> runs_code("resnet20"), runs_code("timm:resnet18"), runs_code("mine.py:net")
    (False, False, True)
    """
    return ":" in model and not is_external(model)


def rebuilt(contract: Contract, weights: dict[str, Tensor], where: str, *, trust: bool) -> Deployed:
    """Build the network a contract names, with its weights, in eval mode; ``where`` names it in errors.

    Errors: ``ValueError`` for a network of somebody's own without ``trust``, for one that is not to be had, and for
    weights that do not fit it.
    """
    if runs_code(contract.model) and not trust:
        raise ValueError(
            f"{where} wants the network {contract.model!r}, and importing it runs its code: "
            "add --trust if you trust whoever made it, or use its .onnx file"
        )
    network = build(contract.model, len(contract.class_names), contract.channels, seed=0)
    fit_weights(network, weights, where)
    return Deployed(network, contract.normalization).eval().requires_grad_(False)
