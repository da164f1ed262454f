"""P17: what it costs to let torch use deterministic algorithms alone. A CPU is deterministic anyway.

torch then also fills all memory that it hands out, which is for finding reads of what was never written: not here.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.loops import library
from benchmarks.measure import Ratio, foreign_load, interleaved
from benchmarks.trainer_efficiency import random_splits
from tutelage.data import BatchLoader, CropFlip
from tutelage.engine import Engine
from tutelage.methods.hinton import labels_only

IMAGES, BATCH, STEPS, ROUNDS = 5_000, 128, 10, 11


def runs() -> Iterator[Ratio]:
    """Throughput with over throughput without."""
    engine = Engine.choose()
    data = BatchLoader(random_splits(IMAGES, 1).train, CropFlip(), BATCH, engine.device)
    blocks = [library(engine, data, labels_only(), steps=STEPS) for _ in range(2)]

    def strict() -> None:
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        try:
            blocks[0]()
        finally:
            torch.use_deterministic_algorithms(False)
            torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]

    with foreign_load() as busy:
        pairs = interleaved(strict, blocks[1], rounds=ROUNDS)
    yield Ratio(
        name="P17 deterministic algorithms alone / torch's default, images/s, ResNet-20",
        rounds=[default / alone for alone, default in pairs],
        goal=">= 0.95",
        busy=busy[0],
    )
