"""Measure a ratio: interleaved blocks in random order, the median over the rounds, a bootstrap interval."""

from __future__ import annotations

import contextlib
import os
import platform
import random
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True)
class Ratio:
    """Values of ``other time / our time`` (or whatever the caller divides), one per round."""

    name: str
    rounds: list[float]
    goal: str
    busy: float
    """The share of the processors used by other programs meanwhile; above 0.3 there is no verdict."""
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.rounds)

    def interval(self) -> tuple[float, float]:
        """The 95 % bootstrap interval of the median."""
        draw = random.Random(0)
        medians = sorted(statistics.median(draw.choices(self.rounds, k=len(self.rounds))) for _ in range(2000))
        return medians[49], medians[1949]


def timed(block: Callable[[], object]) -> float:
    """The seconds that a block takes."""
    began = time.perf_counter()
    block()
    return time.perf_counter() - began


def interleaved(
    ours: Callable[[], object], other: Callable[[], object], rounds: int = 9, warm_up: int = 1
) -> list[tuple[float, float]]:
    """The seconds of both blocks in each round; their order is random in every round."""
    draw = random.Random(1)
    pairs = []
    for number in range(-warm_up, rounds):
        if draw.random() < 0.5:
            pair = timed(ours), timed(other)
        else:
            second = timed(other)
            pair = timed(ours), second
        if number >= 0:
            pairs.append(pair)
    return pairs


@contextmanager
def foreign_load() -> Iterator[list[float]]:
    """Yield a list to which the share of the processors used by other programs is appended at the end."""
    shares: list[float] = []
    busy, own, began = _busy_seconds(), _own_seconds(), time.monotonic()
    yield shares
    wall = time.monotonic() - began
    others = (_busy_seconds() - busy) - (_own_seconds() - own)
    shares.append(max(0.0, others) / wall / (os.cpu_count() or 1))


def _own_seconds() -> float:
    """The processor time of this process, of the children it has waited for, and of all running descendants."""
    times, ticks, descendants = os.times(), os.sysconf("SC_CLK_TCK"), {os.getpid()}
    processes = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has ended meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            processes[int(stat.parent.name)] = (int(fields[1]), sum(map(int, fields[11:15])) / ticks)
    grown = True
    while grown:
        children = {number for number, (parent, _) in processes.items() if parent in descendants}
        grown = not children <= descendants
        descendants |= children
    below = sum(processes[number][1] for number in descendants - {os.getpid()} if number in processes)
    return sum(times[:4]) + below


def _busy_seconds() -> float:
    """The processor time that the whole machine has spent on anything."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    idle = fields[3] + fields[4]
    return float(sum(fields[:8]) - idle) / float(os.sysconf("SC_CLK_TCK"))


def machine() -> str:
    """The hardware and the versions that a table was measured with."""
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


def verdict(ratio: Ratio) -> str:
    """Whether the goal is met: by the whole interval, by the median only, or not; no verdict on a busy machine."""
    if ratio.busy > 0.3:
        return f"machine busy ({ratio.busy:.2f}), not judged"
    goal = re.match(r"([<>])= ([0-9.]+)", ratio.goal)
    if not goal:
        return ""
    sign, bound = (1 if goal[1] == "<" else -1), float(goal[2])
    if all(sign * value <= sign * bound for value in ratio.interval()):
        return "met"
    return "met by the median" if sign * ratio.median <= sign * bound else "missed"


def row(ratio: Ratio) -> str:
    """A ratio as a row of the Markdown table."""
    low, high = ratio.interval()
    notes = "; ".join(f"{name} {value}" for name, value in ratio.notes.items())
    cells = [
        ratio.name,
        f"{ratio.median:.3g}",
        f"{low:.3g} to {high:.3g}",
        ratio.goal,
        verdict(ratio),
        str(len(ratio.rounds)),
        notes,
    ]
    return f"| {' | '.join(cells)} |"
