"""How a ratio is measured: interleaved blocks in random order, the median of the rounds, a bootstrap interval."""

from __future__ import annotations

import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median over rounds of ``other time / our time`` (or whatever the caller divides), with its interval."""

    name: str
    rounds: list[float]
    goal: str
    busy: float
    """Processor share used by others while it ran; above 0.3 nothing is judged."""
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the median."""
        draw = random.Random(0)
        medians = sorted(statistics.median(draw.choices(self.rounds, k=len(self.rounds))) for _ in range(2000))
        return medians[49], medians[1949]


def timed(block: Callable[[], object]) -> float:
    began = time.perf_counter()
    block()
    return time.perf_counter() - began


def interleaved(
    ours: Callable[[], object], other: Callable[[], object], rounds: int = 9, warm_up: int = 1
) -> list[tuple[float, float]]:
    """Seconds of both blocks in each round, their order drawn anew each time."""
    draw = random.Random(1)
    found = []
    for number in range(-warm_up, rounds):
        if draw.random() < 0.5:
            pair = timed(ours), timed(other)
        else:
            second = timed(other)
            pair = timed(ours), second
        if number >= 0:
            found.append(pair)
    return found


@contextmanager
def foreign_load() -> Iterator[list[float]]:
    """Fill a list with the share of the processors that others used while the body ran."""
    found: list[float] = []
    busy, own, began = _busy_seconds(), time.process_time(), time.monotonic()
    yield found
    wall = time.monotonic() - began
    others = (_busy_seconds() - busy) - (time.process_time() - own)
    found.append(max(0.0, others) / wall / (os.cpu_count() or 1))


def _busy_seconds() -> float:
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    idle = fields[3] + fields[4]
    return float(sum(fields[:8]) - idle) / float(os.sysconf("SC_CLK_TCK"))


def surroundings() -> str:
    """The hardware and versions a table belongs to."""
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    amx = " with AMX" if torch.cpu.get_capabilities().get("amx_bf16") else ""
    return (
        f"{time.strftime('%Y-%m-%d')}, {cpu}{amx}, {os.cpu_count()} cores, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {torch.get_num_threads()} threads"
    )


def row(ratio: Ratio) -> str:
    """One line of a Markdown table."""
    low, high = ratio.interval()
    judged = "machine busy, not judged" if ratio.busy > 0.3 else ratio.goal
    notes = "; ".join(f"{name} {value}" for name, value in ratio.notes.items())
    return (
        f"| {ratio.name} | {ratio.median:.3f} | {low:.3f} to {high:.3f} | {judged} | {len(ratio.rounds)} | {notes} |"
    )
