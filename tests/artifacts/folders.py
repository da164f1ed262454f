"""The folder of a small finished model, and the same with other contents under a manifest that vouches for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tutelage import serialization, storage
from tutelage.artifacts.config import model_address
from tutelage.artifacts.model import Model
from tutelage.evaluation import measure
from tutelage.recipes import call

LABELS = torch.arange(6) % 3
LOGITS = torch.eye(3)[LABELS]
FINGERPRINT = "f" * 64


def config(seed: int = 0) -> dict[str, Any]:
    """What a ``config.json`` holds of a baseline."""
    return {
        "place": 0,
        "lineage_seed": 0,
        "seed": seed,
        "lineage": serialization.to_json(call("baseline", epochs=2)),
        "class_names": ["a", "b", "c"],
        "input": [1, 8, 8],
        "data_fingerprint": FINGERPRINT,
        "data_notes": [],
        "precision": "fp32",
        "teachers": [],
        "dependencies": {"source": "s", "numerics": 1},
        "normalization": {"is": "data:Normalization", "mean": [0.5], "std": [0.2], "size": None},
    }


ADDRESS = model_address(config())


def evaluation() -> dict[str, Any]:
    """What an ``evaluation.json`` holds."""
    return {name: measure(LOGITS, LABELS).to_json() for name in ("test", "train")}


def contents(seed: int = 0) -> dict[str, bytes]:
    """The files of the model."""
    return {
        "config.json": storage.json_bytes(config(seed)),
        "evaluation.json": storage.json_bytes(evaluation()),
        "metrics.jsonl": b'{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": 0.25}\n',
        "predictions.safetensors": storage.tensor_bytes({"test": LOGITS, "test_labels": LABELS}),
        "weights.safetensors": storage.tensor_bytes({"weight": torch.zeros(2, 2)}),
    }


def write(runs: Path, seed: int = 0, **changes: bytes) -> Model:
    """Write the model of a seed into a runs folder; ``changes`` are contents by the beginning of a file's name."""
    files = {name: changes.get(name.partition(".")[0], content) for name, content in contents(seed).items()}
    address = model_address(config(seed))
    model = Model(address=address, folder=runs / "models" / address)
    storage.commit(model.folder, files)
    return model
