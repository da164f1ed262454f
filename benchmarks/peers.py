"""P6: comparison with a distillation loop as most public code has it, rebuilt from RepDistiller's settings.

As shipped there: batches of 64; Pillow transforms in a ``DataLoader`` with 8 workers; float32 in torch's default
layout; the teacher's forward pass with its features at every step; plain SGD; top-1, top-5 and the loss read after
each step. The weights, the networks (ResNet-20 taught by ResNet-56), the loss and the number of threads are the same
on both sides. "At equal precision" means this library in float32 as well. Measured with all cores, and with one
thread per side, which is how the measurements behind the goals were made and how a study trains its seeds; the
workers of the other loop then use the other cores. torchdistill is not included: it needs torchvision, which cannot
be imported next to the CPU build of torch used here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.data_path import OneByOne, endless
from benchmarks.loops import CLASSES, NORMALIZATION, counted, library, on, rate
from benchmarks.measure import Ratio, foreign_load, interleaved
from benchmarks.stored_teacher import filled_store
from benchmarks.trainer_efficiency import random_splits
from benchmarks.worker_process import WorkerProcess
from tutelage.data import BatchLoader, CropFlip
from tutelage.engine import Engine
from tutelage.methods.hinton import distillation
from tutelage.models.build import build
from tutelage.models.feature_hooks import FeatureHooks
from tutelage.teachers import NetworkTeacher
from tutelage.teachers.cached import CachedTeacher, exact_dtype
from tutelage.training import Teacher

IMAGES, BATCH, STEPS, ROUNDS, WORKERS = 10_000, 64, 20, 9, 8


def as_shipped(batches: Iterator[list[Tensor]]) -> Callable[[], None]:
    """A block of steps of the other loop."""
    student = build("resnet20", CLASSES, 3, seed=0)
    teacher = build("resnet56", CLASSES, 3, seed=0)
    teacher.eval()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    stages = ("stage1", "stage2", "stage3")
    student_hooks, teacher_hooks = FeatureHooks(student, stages), FeatureHooks(teacher, stages)
    student.train()

    def block() -> None:
        for _ in range(STEPS):
            images, labels = next(batches)
            logits = student(images)
            with torch.no_grad():
                target = teacher(images)
                features = [feature.detach() for feature in teacher_hooks.features.values()]
            assert len(features) == len(student_hooks.features) == len(stages)
            soft = nn.functional.kl_div((logits / 4).log_softmax(1), (target / 4).softmax(1), reduction="batchmean")
            loss = 0.1 * nn.functional.cross_entropy(logits, labels) + 0.9 * 16 * soft
            best = logits.topk(5, 1).indices == labels[:, None]
            best[:, 0].float().sum().item(), best.float().sum().item(), loss.item()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return block


def peer() -> Callable[[], None]:
    """The other loop with its data, for a process of its own without this library's allocator settings."""
    data = OneByOne(random_splits(IMAGES, 1).train)
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    return as_shipped(endless(loader))


def runs() -> Iterator[Ratio]:
    """Online and stored teachers compared with that loop, then an online teacher at its precision."""
    engine = Engine.choose()
    data = random_splits(IMAGES, 1).train
    resident = BatchLoader(data, CropFlip(), BATCH, engine.device)
    network = build("resnet56", CLASSES, 3, seed=0)
    teacher = NetworkTeacher(network, NORMALIZATION, engine)
    exact = Engine.choose(str(engine.device), "fp32")
    with tempfile.TemporaryDirectory() as folder:
        dtype = exact_dtype(teacher(next(resident.batches(0, 0))).logits)
        stored = CachedTeacher(teacher, resident, filled_store(Path(folder), dtype), spot_checks=0)
        exact_teacher = NetworkTeacher(build("resnet56", CLASSES, 3, seed=0), NORMALIZATION, exact)
        sides: dict[str, tuple[Engine, Teacher, str]] = {
            f"online teacher, {engine.precision}": (engine, teacher, ">= 2.4"),
            f"stored teacher, {engine.precision}": (engine, stored, ">= 4.5"),
            "online teacher, fp32": (exact, exact_teacher, ">= 1.0"),
        }
        for threads in (torch.get_num_threads(), 1):
            other = WorkerProcess(peer, threads=threads, tuned=False)
            for name, (side_engine, side_teacher, goal) in sides.items():
                with on(threads), foreign_load() as busy:
                    pairs = interleaved(
                        library(side_engine, resident, distillation(), side_teacher, STEPS), other, rounds=ROUNDS
                    )
                yield Ratio(
                    name=f"P6 {name} / a loop of RepDistiller's shape as shipped, images/s, "
                    f"ResNet-20 taught by ResNet-56, {counted(threads)}",
                    rounds=[theirs / mine for mine, theirs in pairs],
                    goal=goal,
                    busy=busy[0],
                    notes={
                        "ours": rate([mine for mine, _ in pairs], STEPS * BATCH),
                        "theirs": rate([theirs for _, theirs in pairs], STEPS * BATCH),
                    },
                )
            other.close()
