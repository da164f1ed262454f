"""The metadata of an exported model: its input and classes, and how it was trained and measured."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from tutelage import serialization
from tutelage.artifacts.metadata import ModelMetadata, from_config
from tutelage.data.load import dataset_names
from tutelage.evaluation import Measures
from tutelage.export.find import FinishedModel
from tutelage.storage import Damaged


def export_metadata(source: FinishedModel) -> ModelMetadata:
    """The metadata of a finished model, read from its folder.

    Errors: ``storage.Damaged`` for a ``config.json`` that lacks something.
    """
    config = source.model.config()
    where = str(source.model.folder / "config.json")
    try:
        about = _origin(source, config)
    except (KeyError, IndexError, TypeError) as error:
        raise Damaged(f"{where} does not describe a model: {type(error).__name__} {error}") from None
    return from_config(config, where, about)


def card_measures(measures: Measures) -> dict[str, float]:
    """The measures that a model card shows, by name."""
    return {"top1": measures.top1, "top5": measures.top5, "nll": measures.nll, "ece": measures.ece}


def _origin(source: FinishedModel, config: dict[str, Any]) -> dict[str, Any]:
    """How the model was trained and measured, as plain JSON for people to read; no path of this machine is in it."""
    lineage = config["lineage"]
    generation = lineage["generations"][config["place"]]
    data_name = lineage["data"]["name"]
    teachers = []
    for place, address in zip(generation["teachers"], config["teachers"], strict=True):
        teacher = lineage["generations"][place]
        teachers.append({"generation": teacher["name"], "model": teacher["model"], "address": address})
    return {
        "address": source.model.address,
        "data": {
            "name": data_name if data_name in dataset_names() else Path(data_name).name,
            "train_size": lineage["data"]["train_size"],
            "test_size": lineage["data"].get("test_size"),  # absent from older models
            "fingerprint": config["data_fingerprint"],
            "mark": config.get("data_mark", ""),  # absent from older models
        },
        "lineage": lineage["name"],
        "generation": generation["name"],
        "method": _objective_text(generation),
        "epochs": generation["schedule"]["epochs"],
        "test_set_watched": any(name.startswith("test/") for epoch in source.model.metrics() for name in epoch),
        "seed": config["lineage_seed"],
        "precision": config["precision"],
        "teachers": teachers,
        "measured": {
            part: card_measures(measures) for part, measures in source.model.evaluation().items() if part != "train"
        },
        "versions": {
            "tutelage": version("tutelage"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def _objective_text(generation: dict[str, Any]) -> str:
    """The objective of a generation as a formula, where it has one that can be read back."""
    if generation.get("weights") is not None:
        return f"none: pretrained weights from {Path(generation['weights']).name}"
    try:
        return str(serialization.from_json(generation["objective"]))
    except ValueError:  # a term that the user defined; its code need not exist any more
        return "an objective with user-defined terms"
