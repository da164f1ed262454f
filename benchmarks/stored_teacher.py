"""P4, P5, P13, P14: the cost of a step with stored logits, the cost of filling the store, and its size.

The store has a fifth of CIFAR-100's size, 10,000 images in 162 views. It is filled with random logits beforehand:
computing all of them would take hours, and their values do not affect how fast they are read. The table is in the
page cache, as it is on a machine with enough memory once the store is open, because opening verifies its blocks.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch

from benchmarks.loops import CLASSES, NORMALIZATION, counted, library, on, rate
from benchmarks.measure import Ratio, foreign_load, interleaved
from benchmarks.trainer_efficiency import random_splits
from tutelage.data import BatchLoader, CropFlip
from tutelage.engine import Engine
from tutelage.methods.hinton import distillation, labels_only
from tutelage.models.build import build
from tutelage.teachers import NetworkTeacher
from tutelage.teachers.cached import CachedTeacher, exact_dtype
from tutelage.teachers.logit_store import LogitStore
from tutelage.training import Teacher

IMAGES, BATCH, STEPS, ROUNDS, VIEWS = 10_000, 128, 5, 9, CropFlip()


def runs() -> Iterator[Ratio]:
    """All of these ratios, with one filled store."""
    engine = Engine.choose()
    data = BatchLoader(random_splits(IMAGES, 1).train, VIEWS, BATCH, engine.device)
    network = build("resnet110", CLASSES, 3, seed=0)
    for parameter in network.parameters():
        parameter.data.mul_(0.9)  # otherwise a network of 110 untrained layers overflows float16
    teacher = NetworkTeacher(network, NORMALIZATION, engine)
    dtype = exact_dtype(teacher(next(data.batches(0, 0))).logits)
    with tempfile.TemporaryDirectory() as folder:
        filled = filled_store(Path(folder), dtype)
        began = time.perf_counter()
        filled = _store(Path(folder), "filled", dtype)
        opening = time.perf_counter() - began
        stored = CachedTeacher(teacher, data, filled, spot_checks=0)
        yield _plain(engine, data, stored, opening)
        for threads in (torch.get_num_threads(), 1):
            with on(threads):
                yield _online(engine, data, stored, teacher)
        yield _reading(engine, data, stored)
        yield _size(filled)
        with _store(Path(folder), "filling", dtype) as empty:
            yield _filling(engine, data, teacher, empty)


def _store(folder: Path, name: str, dtype: torch.dtype) -> LogitStore:
    return LogitStore(folder, {"name": name}, size=IMAGES * VIEWS.count, num_classes=CLASSES, dtype=dtype)


def filled_store(folder: Path, dtype: torch.dtype) -> LogitStore:
    """A store with random logits for all views of the images."""
    generator = torch.Generator().manual_seed(0)
    with _store(folder, "filled", dtype) as store:
        part = 1 << 14
        order = torch.randperm(store.size, generator=generator)
        rows = torch.randn(part, CLASSES, generator=generator).to(dtype).float()
        for start in range(0, store.size, part):
            keys = order[start : start + part]
            store.write(keys, rows[: len(keys)])
    return store


def _plain(engine: Engine, data: BatchLoader, stored: CachedTeacher, opening: float) -> Ratio:
    ours = library(engine, data, distillation(), stored, STEPS)
    other = library(engine, data, labels_only(), steps=STEPS)
    with foreign_load() as busy:
        pairs = interleaved(ours, other, rounds=ROUNDS)
    return Ratio(
        name="P4 step with stored logits / cross-entropy step, ResNet-20, batch 128",
        rounds=[ours / other for ours, other in pairs],
        goal="<= 1.03",
        busy=busy[0],
        notes={"opening and checking the store": f"{opening:.1f} s"},
    )


def _online(engine: Engine, data: BatchLoader, stored: CachedTeacher, teacher: Teacher) -> Ratio:
    ours = library(engine, data, distillation(), stored, STEPS)
    other = library(engine, data, distillation(), teacher, STEPS)
    with foreign_load() as busy:
        pairs = interleaved(ours, other, rounds=ROUNDS)
    return Ratio(
        name="P5 images/s with stored / online teacher, ResNet-20 taught by ResNet-110, batch 128, "
        + counted(torch.get_num_threads()),
        rounds=[other / ours for ours, other in pairs],
        goal=">= 2.0" if engine.precision == "bf16" else ">= 2.6",
        busy=busy[0],
        notes={
            "stored": rate([ours for ours, _ in pairs], STEPS * BATCH),
        },
    )


def _reading(engine: Engine, data: BatchLoader, stored: CachedTeacher) -> Ratio:
    step = library(engine, data, labels_only(), steps=STEPS)
    batches = list(islice(data.batches(1, 0), 10 * STEPS))

    def read() -> None:
        for batch in batches:
            stored(batch)

    with foreign_load() as busy:
        pairs = interleaved(read, step, rounds=ROUNDS)
    return Ratio(
        name="P13 reading a batch of stored logits / cross-entropy step",
        rounds=[ours / 10 / other for ours, other in pairs],
        goal="<= 0.01",
        busy=busy[0],
        notes={
            "one batch": f"{statistics.median(ours for ours, _ in pairs) / len(batches) * 1e6:.0f} us",
        },
    )


def _filling(engine: Engine, data: BatchLoader, teacher: NetworkTeacher, store: LogitStore) -> Ratio:
    stored = CachedTeacher(teacher, data, store)
    pixels = next(data.batches(0, 0)).normalized(NORMALIZATION)
    batches = (batch for epoch in range(100) for batch in data.batches(2, epoch))

    def fill() -> None:
        for _ in range(STEPS):
            stored(next(batches))
        store.flush()

    @torch.no_grad()
    def bare() -> None:
        for _ in range(STEPS):
            with engine.autocast():
                teacher.network(pixels)

    with foreign_load() as busy:
        pairs = interleaved(fill, bare, rounds=ROUNDS)
    return Ratio(
        name="P13 filling the store / bare teacher in eval mode, images/s, ResNet-110, a flush every 5 batches",
        rounds=[other / ours for ours, other in pairs],
        goal=">= 0.90",
        busy=busy[0],
        notes={"filling": rate([ours for ours, _ in pairs], STEPS * BATCH)},
    )


def _size(store: LogitStore) -> Ratio:
    size = sum(path.stat().st_size for path in store.folder.iterdir())
    return Ratio(
        name=f"P14 bytes of a full store per image and view, 100 classes, {store.dtype}",
        rounds=[size / store.size],
        goal="<= 202 (200 and 1 %)" if store.dtype.itemsize == 2 else "<= 404 (exact in float32; 202 in two bytes)",
        busy=0.0,
        notes={"files": f"{len(list(store.folder.iterdir()))}", "MB": f"{size / 1e6:.0f}"},
    )
