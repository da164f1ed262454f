"""A small CIFAR-100: six classes in three superclasses, stored where ``tutelage data import`` would store it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tutelage import storage
from tutelage.data import layouts

CLASSES = ("oak", "pine", "lion", "ti\x1b[2Jger\n", "bus", "=tram|")  # some would clear a screen, end a row or a cell
ESCAPED = ("oak", "pine", "lion", "ti\\x1b[2Jger\\n", "bus", "=tram|")
COARSE = ("trees", "cats", "vehicles")
SUPERCLASSES = (0, 0, 1, 1, 2, 2)
TRAIN, TEST = 42, 30


def make_coarse_set(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise that is brighter in rows that depend on the class; classes of one superclass share some of these rows."""
    layout = layouts.LAYOUTS["cifar100"]
    info = replace(layout.info, class_names=CLASSES, coarse_names=COARSE, train_size=TRAIN, test_size=TEST)
    monkeypatch.setitem(layouts.LAYOUTS, "cifar100", replace(layout, info=info))
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for part, size in (("train", TRAIN), ("test", TEST)):
        labels = torch.arange(size) % len(CLASSES)
        images = torch.randint(0, 160, (size, 3, 32, 32), generator=generator, dtype=torch.uint8)
        for row, label in enumerate(labels.tolist()):
            images[row, :, 5 * label : 5 * label + 4] = 255
            images[row, :, 10 * SUPERCLASSES[label] : 10 * SUPERCLASSES[label] + 2] = 230
        tensors[f"{part}_images"] = images
        tensors[f"{part}_labels"] = labels
        tensors[f"{part}_coarse_labels"] = torch.tensor(SUPERCLASSES)[labels]
    note = {"name": "cifar100", "source": {"file": "made for tests", "sha256": None, "official": False}}
    storage.commit(root / "cifar100", {"data.safetensors": storage.tensor_bytes(tensors)}, note)
