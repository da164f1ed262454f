"""A running study in a terminal: one line per arm (per seed, where there is one arm), and the time that remains."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.text import Text

from tutelage.cli.eta import WorkEstimate
from tutelage.lineage import Finished, Measuring, ModelEvent, TrainingProgress
from tutelage.study import Event, Failed, SeedStopped, Study

State = Literal["done", "failed", "stopped"]
COLOURS: dict[State, str] = {"failed": "bold red", "stopped": "yellow", "done": "green"}


@dataclass(frozen=True, slots=True)
class ImageCount:
    """How many images a seed had been trained on at a time."""

    time: float
    images: int


@dataclass(slots=True)
class SeedState:
    """Where a seed is: the arms that ended with their state, and the last event of the arm that it trains."""

    ended: dict[str, State] = field(default_factory=dict)
    current: ModelEvent | None = None
    first: ImageCount | None = None
    last: ImageCount | None = None
    gradient: str = ""

    def rate(self) -> float:
        """Images per second in the current generation; 0 unless it is being trained."""
        if not isinstance(self.current, TrainingProgress) or self.first is None or self.last is None:
            return 0.0
        seconds = self.last.time - self.first.time
        return (self.last.images - self.first.images) / seconds if seconds > 0 else 0.0

    def in_arm(self, arm: str) -> ModelEvent | None:
        """The last event of this arm, if it is the one that the seed trains."""
        return self.current if self.current is not None and self.current.arm == arm else None


class LiveView:
    """The state of a study, as rich shows it. One thread updates it, another renders it."""

    def __init__(self, study: Study, processes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.study, self.clock = study, clock
        self.arms = [lineage.name for lineage in study.lineages]
        self.work = WorkEstimate(study, processes)
        self.seeds = {seed: SeedState() for seed in study.seeds}
        self.started_at = clock()
        self.lock = threading.Lock()

    def update(self, event: Event) -> None:
        """Take in an event."""
        with self.lock:
            self.work.update(event, self.clock())
            self._update(event, self.seeds[event.seed])

    def _update(self, event: Event, seed: SeedState) -> None:
        match event:
            case Failed():
                for arm in [event.arm] if event.arm else self.arms:
                    seed.ended.setdefault(arm, "failed")
                seed.current = None
            case SeedStopped():
                for arm in self.arms:
                    seed.ended.setdefault(arm, "stopped")
                seed.current = None
            case Finished():
                last = event.model.place + 1 == event.model.generations
                seed.current = None if last else event
                if last:
                    seed.ended[event.arm] = "done"
            case TrainingProgress() | Measuring():
                if seed.current is None or seed.current.model != event.model:
                    seed.first, seed.gradient = None, ""
                if isinstance(event, TrainingProgress):
                    seed.last = ImageCount(self.clock(), event.images)
                    seed.first = seed.first or seed.last
                    seed.gradient = _gradient(event) or seed.gradient
                seed.current = event

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The bar, two lines of numbers, then as many arms as there is room for."""
        with self.lock:
            width, room = options.max_width, (options.height or console.size.height) - 4
            finished, total = self.work.count()
            share, remaining = self.work.share_done(), self.work.seconds_remaining()
            rate = sum(seed.rate() for seed in self.seeds.values())
            elapsed = f"elapsed {_clock(self.clock() - self.started_at)}"
            lines = [
                f" {100 * share:.0f} %",  # behind the bar
                f"{finished} of {total} models{f', {rate:,.0f} images/s' if rate else ''}",
                elapsed if remaining is None else f"{elapsed}, about {_clock(remaining)} left",
                *self._rows(width, max(1, room)),
            ]
        yield ProgressBar(total=1.0, completed=share, width=max(1, min(60, width - 6)))
        for line in lines:
            text = Text(line, no_wrap=True, overflow="ellipsis")
            for state, colour in COLOURS.items():
                text.highlight_regex(rf"\b{state}\b", colour)
            yield text

    def _rows(self, width: int, room: int) -> list[str]:
        """One row per arm or seed; where there is no room for all, those that are being trained stay."""
        if len(self.arms) == 1:
            names = [f"seed {seed}" for seed in self.seeds]
            texts = [[self._seed_text(seed)] for seed in self.seeds.values()]
            active = [seed.current is not None for seed in self.seeds.values()]
        else:
            names = self.arms
            texts = [self._arm_texts(arm) for arm in self.arms]
            active = [any(seed.in_arm(arm) for seed in self.seeds.values()) for arm in self.arms]
        column = min(max(map(cell_len, names)), max(12, width // 3))
        rows = [
            f"{_cut(name, column)}  {_longest_fit(text, width - column - 2)}"
            for name, text in zip(names, texts, strict=True)
        ]
        if len(rows) <= room:
            return rows
        ranked = sorted(range(len(rows)), key=lambda number: not active[number])[: room - 1]
        return [*(rows[number] for number in sorted(ranked)), f"and {len(rows) - len(ranked)} more"]

    def _seed_text(self, seed: SeedState) -> str:
        """A seed of the only arm."""
        event = seed.current
        if event is None:
            return seed.ended.get(self.arms[0], "waiting")
        parts = [f"{_number(event)} of {event.model.generations}"] if event.model.generations > 1 else []
        if not isinstance(event, Finished):  # which leaves it between this generation and the next
            parts.append(f"{event.model.generation}{_share(event)}")
        if seed.gradient and isinstance(event, TrainingProgress):
            parts.append(f"gradient: {seed.gradient}")
        return ", ".join(parts)

    def _arm_texts(self, arm: str) -> list[str]:
        """The seeds of an arm: in full, in short, and as numbers only."""
        full: dict[str, list[int]] = {}
        short: dict[str, list[int]] = {}
        counts: Counter[str] = Counter()
        for number, seed in self.seeds.items():
            event, state = seed.in_arm(arm), seed.ended.get(arm, "waiting")
            full.setdefault(_place(event) if event else state, []).append(number)
            short.setdefault(_short_place(event) if event else state, []).append(number)
            counts["training" if event else state] += 1
        if len(self.seeds) == 1:
            return [*full, *short]
        plural = "seeds " if len(next(iter(full.values()))) > 1 else "seed "
        return [
            plural + "; ".join(f"{ranges(seeds)} {text}" for text, seeds in full.items()),
            "; ".join(f"{ranges(seeds)} {text}" for text, seeds in short.items()),
            "; ".join(f"{count} {text}" for text, count in counts.items()),
        ]


def _gradient(event: TrainingProgress) -> str:
    """Each term's share of the gradient norm in the newest epoch, where it is recorded."""
    newest = event.epochs[-1] if event.epochs else {}
    shares = {name.removeprefix("share/"): share for name, share in newest.items() if name.startswith("share/")}
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())


def _place(event: ModelEvent) -> str:
    """How far a seed is in its arm."""
    count = event.model.generations
    return f"{f'generation {_number(event)} of {count}' if count > 1 else 'training'}{_share(event)}"


def _short_place(event: ModelEvent) -> str:
    return f"at {_number(event)}/{event.model.generations}" if event.model.generations > 1 else "training"


def _number(event: ModelEvent) -> int:
    """The generation that is being trained or is next, counted from 1."""
    return event.model.place + (2 if isinstance(event, Finished) else 1)


def _share(event: ModelEvent) -> str:
    """How much of the generation is done."""
    if isinstance(event, TrainingProgress):
        return f" ({100 * event.step / max(1, event.steps):.0f} %)"
    return " (measuring)" if isinstance(event, Measuring) else ""


def ranges(numbers: Sequence[int]) -> str:
    """Whole numbers in order, with runs of consecutive ones joined.

    >>> ranges([0, 1, 2, 5, 7, 8])
    '0-2, 5, 7-8'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _longest_fit(texts: Sequence[str], width: int) -> str:
    """The first of several texts, the longest first, that fits; else the last."""
    return next((text for text in texts if cell_len(text) <= width), texts[-1])


def _cut(name: str, width: int) -> str:
    return set_cell_size(name, width) if cell_len(name) <= width else f"{set_cell_size(name, width - 1)}…"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
