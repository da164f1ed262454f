"""P12: as many seeds as cores at once, one thread each, compared with one after the other on all cores."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.loops import Block, library, rate
from benchmarks.measure import Ratio, foreign_load, interleaved
from benchmarks.trainer_efficiency import random_splits
from benchmarks.worker_process import WorkerProcess
from tutelage.data import BatchLoader, CropFlip
from tutelage.engine import Engine, available_cores
from tutelage.methods.hinton import labels_only

IMAGES, BATCH, STEPS, ROUNDS = 5_000, 128, 10, 9


def training() -> Block:
    """A block of steps of ResNet-20 on labels only."""
    engine = Engine.choose("cpu")
    return library(
        engine, BatchLoader(random_splits(IMAGES, 1).train, CropFlip(), BATCH, engine.device), labels_only()
    )


def steps(block: Block, count: int) -> None:
    """Run a block several times."""
    for _ in range(count):
        block()


def runs() -> Iterator[Ratio]:
    """The time of the seeds one after the other, relative to that of all at once."""
    cores = available_cores()
    workers = [WorkerProcess(training, threads=1) for _ in range(cores)]
    alone = WorkerProcess(training, threads=cores)
    blocks = STEPS // 5

    def together() -> None:
        for _ in range(blocks):
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.wait()

    with foreign_load() as busy:
        pairs = interleaved(together, lambda: steps(alone, blocks * cores), rounds=ROUNDS)
    for worker in (*workers, alone):
        worker.close()
    images = STEPS * BATCH * cores
    yield Ratio(
        name=f"P12 {cores} seeds one after the other on {cores} threads / at once on one each, ResNet-20",
        rounds=[sequential / parallel for parallel, sequential in pairs],
        goal=">= 1.3",
        busy=busy[0],
        notes={
            "at once": rate([parallel for parallel, _ in pairs], images),
            "one after the other": rate([sequential for _, sequential in pairs], images),
        },
    )
