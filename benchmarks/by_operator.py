"""Where the time of a training step goes, by operator; prints the tables of docs/profile.md."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

from benchmarks.loops import CLASSES, NORMALIZATION, library
from benchmarks.measure import surroundings
from benchmarks.trainer_efficiency import random_splits
from tutelage.data import BatchLoader, CropFlip
from tutelage.engine import Engine, keep_freed_memory
from tutelage.methods.hinton import distillation, labels_only
from tutelage.models.build import build
from tutelage.teachers import NetworkTeacher

BATCH, STEPS, SHOWN = 128, 20, 14


def table(title: str, block: Callable[[], None]) -> str:
    """The operators that take most of the time, by their own time."""
    block()  # warm
    with profile(activities=[ProfilerActivity.CPU]) as found:
        block()
    rows = [(row.key, row.self_cpu_time_total, row.count) for row in found.key_averages()]
    whole = sum(time for _, time, _ in rows)
    lines = [f"## {title}", "", "| operator | share of the time | calls a step |", "|---|---|---|"]
    for name, time, count in sorted(rows, key=lambda row: -row[1])[:SHOWN]:
        lines.append(f"| `{name}` | {100 * time / whole:.1f} % | {count / STEPS:.1f} |")
    return "\n".join([*lines, "", f"{whole / STEPS / 1000:.1f} ms a step of {BATCH} images under the profiler."])


def main() -> None:
    keep_freed_memory()
    engine = Engine.choose()
    data = BatchLoader(random_splits(40 * BATCH, 1).train, CropFlip(), BATCH, engine.device)
    teacher = NetworkTeacher(build("resnet56", CLASSES, 3, seed=1), NORMALIZATION, engine)
    print(surroundings() + f"; {engine}.\n")
    print(table("ResNet-20 on labels", library(engine, data, labels_only(), steps=STEPS)), "\n")
    print(table("ResNet-20 taught by ResNet-56", library(engine, data, distillation(), teacher, STEPS)))


if __name__ == "__main__":
    main()
