"""P17: the cost of restricting torch to deterministic algorithms. A CPU is deterministic without it.

By default torch then also fills the memory that it allocates, to expose reads of uninitialized memory; this is turned
off here.
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
    """The throughput with the restriction, relative to that without."""
    engine = Engine.choose()
    data = BatchLoader(random_splits(IMAGES, 1).train, CropFlip(), BATCH, engine.device)
    blocks = [library(engine, data, labels_only(), steps=STEPS) for _ in range(2)]

    def deterministic() -> None:
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        try:
            blocks[0]()
        finally:
            torch.use_deterministic_algorithms(False)
            torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]

    with foreign_load() as busy:
        pairs = interleaved(deterministic, blocks[1], rounds=ROUNDS)
    yield Ratio(
        name="P17 deterministic algorithms only / torch's default, images/s, ResNet-20",
        rounds=[default / restricted for restricted, default in pairs],
        goal=">= 0.95",
        busy=busy[0],
    )
