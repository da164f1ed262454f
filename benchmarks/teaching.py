"""P3 and P9: the cost of a teacher beyond its arithmetic, and the gain from bf16."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.loops import CLASSES, NORMALIZATION, bare, counted, library, on, rate
from benchmarks.measure import Ratio, foreign_load, interleaved
from benchmarks.trainer_efficiency import random_splits
from tutelage.data import BatchLoader, CropFlip
from tutelage.engine import Engine
from tutelage.methods.hinton import distillation, labels_only
from tutelage.models.build import build
from tutelage.teachers import NetworkTeacher

BATCH, STEPS, ROUNDS = 128, 10, 11


def runs() -> Iterator[Ratio]:
    """Both ratios, with ResNet-20 as the student."""
    engine = Engine.choose()
    data = BatchLoader(random_splits(20 * BATCH, 1).train, CropFlip(), BATCH, engine.device)
    teacher = engine.place(build("resnet56", CLASSES, 3, seed=1)).eval()
    ours = library(engine, data, distillation(), NetworkTeacher(teacher, NORMALIZATION, engine), STEPS)
    with foreign_load() as busy:
        pairs = interleaved(ours, bare(engine, BATCH, STEPS, teacher=teacher), rounds=ROUNDS)
    yield Ratio(
        name="P3 step with an online teacher / (bare step + bare teacher's forward), ResNet-20 taught by ResNet-56",
        rounds=[mine / other for mine, other in pairs],
        goal="<= 1.02",
        busy=busy[0],
        notes={"distilling": rate([mine for mine, _ in pairs], STEPS * BATCH)},
    )
    if engine.precision != "bf16":
        return
    for threads in (torch.get_num_threads(), 1):
        with on(threads):
            yield _bf16(engine, data)


def _bf16(engine: Engine, data: BatchLoader) -> Ratio:
    exact = Engine.choose(str(engine.device), "fp32")
    with foreign_load() as busy:
        pairs = interleaved(
            library(engine, data, labels_only(), steps=STEPS),
            library(exact, data, labels_only(), steps=STEPS),
            rounds=ROUNDS,
        )
    amx = torch.cpu.get_capabilities().get("amx_bf16")
    return Ratio(
        name=f"P9 images/s in bf16 / in fp32, ResNet-20 on labels, {counted(torch.get_num_threads())}",
        rounds=[other / mine for mine, other in pairs],
        goal=">= 1.8" if amx else "none without AMX",
        busy=busy[0],
    )
