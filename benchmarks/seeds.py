"""P12: as many seeds as cores side by side, one thread each, against one after the other on all cores."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.apart import Apart
from benchmarks.loops import Block, library, rate
from benchmarks.measure import Ratio, foreign_load, interleaved
from benchmarks.trainer_efficiency import random_splits
from tutelage.data import BatchLoader, CropFlip
from tutelage.engine import Engine, available_cores
from tutelage.methods.hinton import labels_only

IMAGES, BATCH, STEPS, ROUNDS = 5_000, 128, 10, 9


def training() -> Block:
    """A block of steps of ResNet-20 with labels alone."""
    engine = Engine.choose("cpu")
    return library(
        engine, BatchLoader(random_splits(IMAGES, 1).train, CropFlip(), BATCH, engine.device), labels_only()
    )


def steps(block: Block, count: int) -> None:
    for _ in range(count):
        block()


def runs() -> Iterator[Ratio]:
    """How much sooner the seeds are done."""
    cores = available_cores()
    side_by_side = [Apart(training, threads=1) for _ in range(cores)]
    alone = Apart(training, threads=cores)
    blocks = STEPS // 5

    def together() -> None:
        for _ in range(blocks):
            for each in side_by_side:
                each.start()
            for each in side_by_side:
                each.wait()

    with foreign_load() as busy:
        pairs = interleaved(together, lambda: steps(alone, blocks * cores), rounds=ROUNDS)
    for each in (*side_by_side, alone):
        each.close()
    images = STEPS * BATCH * cores
    yield Ratio(
        name=f"P12 {cores} seeds one after the other on {cores} threads / side by side on one each, ResNet-20",
        rounds=[after / beside for beside, after in pairs],
        goal=">= 1.3",
        busy=busy[0],
        notes={
            "side by side": rate([beside for beside, _ in pairs], images),
            "one after the other": rate([after for _, after in pairs], images),
        },
    )
