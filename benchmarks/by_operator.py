"""Profile a training step by operator; prints the tables of docs/profile.md."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

from benchmarks.loops import CLASSES, NORMALIZATION, library
from benchmarks.measure import machine
from benchmarks.trainer_efficiency import random_splits
from tutelage.data import BatchLoader, CropFlip
from tutelage.engine import Engine, keep_freed_memory
from tutelage.methods.hinton import distillation, labels_only
from tutelage.models.build import build
from tutelage.teachers import NetworkTeacher

BATCH, STEPS, LISTED = 128, 20, 14


def table(title: str, block: Callable[[], None]) -> str:
    """The operators with the largest own time, as a Markdown table."""
    block()  # warm-up
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        block()
    operators = [(row.key, row.self_cpu_time_total, row.count) for row in profiler.key_averages()]
    total = sum(time for _, time, _ in operators)
    lines = [f"## {title}", "", "| operator | share of the time | calls per step |", "|---|---|---|"]
    for name, time, count in sorted(operators, key=lambda operator: -operator[1])[:LISTED]:
        lines.append(f"| `{name}` | {100 * time / total:.1f} % | {count / STEPS:.1f} |")
    return "\n".join([*lines, "", f"{total / STEPS / 1000:.1f} ms per step of {BATCH} images under the profiler."])


def main() -> None:
    keep_freed_memory()
    engine = Engine.choose()
    data = BatchLoader(random_splits(40 * BATCH, 1).train, CropFlip(), BATCH, engine.device)
    teacher = NetworkTeacher(build("resnet56", CLASSES, 3, seed=1), NORMALIZATION, engine)
    print(machine() + f"; {engine}.\n")
    print(table("ResNet-20 on labels", library(engine, data, labels_only(), steps=STEPS)), "\n")
    print(table("ResNet-20 taught by ResNet-56", library(engine, data, distillation(), teacher, STEPS)))


if __name__ == "__main__":
    main()
