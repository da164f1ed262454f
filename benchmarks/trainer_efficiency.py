"""P1: the images/s of full training, relative to those of a bare loop with the same settings.

Full training is what ``tutelage run`` does: drawing and cutting views, the objective with its named parts, running
metrics, evaluating a holdout after each epoch, and a checkpoint in each block of some 6 s (real runs: one every 30 s;
the interval is 8 s here, because the blocks of the other side run in between). The bare loop is forward, backward and
optimizer step on one batch in memory, and a forward pass over as many images as the holdout has, with the same
network, precision, memory layout, optimizer and threads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.loops import bare, rate
from benchmarks.measure import Ratio, foreign_load, interleaved
from tutelage.data import CropFlip, DataConfig, Dataset, DatasetInfo, Splits
from tutelage.engine import Engine
from tutelage.lineage import Generation, Lineage, TrainingProgress, TrainOptions, train
from tutelage.methods.hinton import labels_only
from tutelage.training import Schedule

STEPS, BATCH, HOLDOUT, ROUNDS = 60, 128, 1000, 15


def random_splits(train_size: int, holdout: int) -> Splits:
    """Random images of CIFAR-100's shape: a training set, and a test set and a holdout of ``holdout`` images each."""
    generator = torch.Generator().manual_seed(0)

    def part(count: int) -> Dataset:
        return Dataset(
            images=torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator),
            labels=torch.randint(0, 100, (count,), generator=generator),
            ids=torch.arange(count),
        )

    names = tuple(str(k) for k in range(100))
    info = DatasetInfo(class_names=names, channels=3, height=32, width=32, train_size=train_size, test_size=holdout)
    return Splits(info=info, train=part(train_size), test=part(holdout), holdout=part(holdout), fingerprint="random")


def epochs(splits: Splits, engine: Engine, runs: Path) -> Iterator[None]:
    """Full training; yields after each epoch, whose evaluation and checkpoint count towards the next."""
    generation = Generation(
        name="bench",
        model="resnet20",
        objective=labels_only(),
        schedule=Schedule(epochs=10_000, batch_size=BATCH),
    )
    lineage = Lineage(name="bench", data=DataConfig(name="random"), views=CropFlip(), generations=(generation,))
    options = TrainOptions(checkpoint_seconds=8.0)
    for event in train(lineage, 0, splits, runs=runs, engine=engine, options=options):
        if isinstance(event, TrainingProgress) and event.epoch_ended:
            yield


def runs() -> Iterator[Ratio]:
    """The throughput of full training, relative to that of the bare loop."""
    engine = Engine.choose()
    with tempfile.TemporaryDirectory() as folder, foreign_load() as busy:
        training = epochs(random_splits(STEPS * BATCH, HOLDOUT), engine, Path(folder))
        block = bare(engine, BATCH, STEPS, holdout=HOLDOUT)
        pairs = interleaved(lambda: next(training), block, rounds=ROUNDS)
    yield Ratio(
        name="P1 trainer efficiency (full training / bare loop), ResNet-20, batch 128",
        rounds=[other / ours for ours, other in pairs],
        goal=">= 0.97",
        busy=busy[0],
        notes={"full training": rate([ours for ours, _ in pairs], STEPS * BATCH), "engine": str(engine)},
    )
