"""P15: the cost of a checkpoint. Training pauses while it is written, synced, read back and hashed.

An epoch is the 50,000 images of CIFAR-100, at the speed measured in the same round. A run saves every 30 s, so an
epoch that takes longer contains several checkpoints. Reported are the share of one save in one epoch, and in 30 s.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.loops import CLASSES, NORMALIZATION
from benchmarks.measure import Ratio, foreign_load, timed
from benchmarks.trainer_efficiency import random_splits
from tutelage import storage
from tutelage.data import BatchLoader, CropFlip
from tutelage.engine import Engine
from tutelage.methods.hinton import labels_only
from tutelage.models.build import build
from tutelage.training import Schedule, fit

BATCH, STEPS, ROUNDS, EPOCH, EVERY = 128, 10, 15, 50_000, 30.0


def runs() -> Iterator[Ratio]:
    """The time to save a ResNet-20 with its optimizer state, relative to an epoch."""
    engine = Engine.choose()
    data = BatchLoader(random_splits(20 * BATCH, 1).train, CropFlip(), BATCH, engine.device)
    schedule = Schedule(epochs=100_000, batch_size=BATCH)
    records = fit(
        build("resnet20", CLASSES, 3, seed=0),
        data,
        labels_only(),
        schedule,
        normalization=NORMALIZATION,
        seed=0,
        engine=engine,
        pulse=0.0,
    )
    saves, epochs = [], []
    with tempfile.TemporaryDirectory() as folder, foreign_load() as busy:
        for number in range(-1, ROUNDS):
            steps = timed(lambda: [next(records) for _ in range(STEPS - 1)])
            record, began = next(records), time.perf_counter()
            files = {"state.safetensors": storage.tensor_bytes(record.state().tensors)}
            storage.save_checkpoint(Path(folder), number + 2, files)
            saved = time.perf_counter() - began
            if number >= 0:
                saves.append(saved)
                epochs.append(steps / ((STEPS - 1) * BATCH) * EPOCH)
    yield Ratio(
        name="P15 a checkpoint / an epoch of 50,000 images, ResNet-20",
        rounds=[saved / epoch for saved, epoch in zip(saves, epochs, strict=True)],
        goal="<= 0.01",
        busy=busy[0],
        notes={
            "one checkpoint": f"{sorted(saves)[len(saves) // 2] * 1e3:.1f} ms",
            "share of the 30 s between two": f"{sorted(saves)[len(saves) // 2] / EVERY:.4f}",
        },
    )
