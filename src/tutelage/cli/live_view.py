"""A running study in a terminal: a line an arm (a seed, where there is one arm), and how long it still takes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.text import Text

from tutelage.cli.eta import Work
from tutelage.study import Event, Study

_COLOURS = {"failed": "bold red", "stopped": "yellow", "done": "green"}


@dataclass(slots=True)
class _Seed:
    """Where a seed stands: its state in each arm, and the generation it is training."""

    states: dict[str, str] = field(default_factory=dict)  # arm -> done, failed or stopped
    at: Event | None = None
    began: tuple[float, int] | None = None  # when this generation was first heard of, and at how many images
    now: tuple[float, int] | None = None
    shares: str = ""

    def rate(self) -> float:
        """Images a second in this generation."""
        if self.began is None or self.now is None or self.now[0] <= self.began[0]:
            return 0.0
        return (self.now[1] - self.began[1]) / (self.now[0] - self.began[0])


class Board:
    """A study's events so far, as rich shows them; told by one thread, drawn by another."""

    def __init__(self, study: Study, processes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.study, self.clock = study, clock
        self.work = Work(study, processes)
        self.seeds = {seed: _Seed() for seed in study.seeds}
        self.began = clock()
        self.lock = threading.Lock()

    def tell(self, event: Event) -> None:
        """Take in an event."""
        with self.lock:
            self.work.tell(event, self.clock())
            self._tell(event)

    def _tell(self, event: Event) -> None:
        seed = self.seeds[event.seed]
        if event.phase == "failed":
            for lineage in self.study.lineages:
                if event.lineage in ("", lineage.name):
                    seed.states.setdefault(lineage.name, "failed")
            seed.at = None
        elif event.phase == "stopped":
            for lineage in self.study.lineages:
                seed.states.setdefault(lineage.name, "stopped")
            seed.at = None
        elif event.phase in ("kept", "finished"):
            last = event.place + 1 == event.generations
            seed.at = None if last else event
            if last:
                seed.states[event.lineage] = "done"
        elif event.phase in ("training", "measuring"):
            if seed.at is None or (seed.at.lineage, seed.at.place) != (event.lineage, event.place):
                seed.began, seed.shares = None, ""
            if event.phase == "training":
                seed.now = self.clock(), event.images
                seed.began = seed.began or seed.now
                seed.shares = event.text or seed.shares
            seed.at = event

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The bar, two lines in numbers, then the arms, as many as there is room for."""
        with self.lock:
            width, room = options.max_width, (options.height or console.size.height) - 4
            done, of = self.work.models()
            share, left = self.work.share(), self.work.left()
            rate = sum(seed.rate() for seed in self.seeds.values() if seed.at and seed.at.phase == "training")
            elapsed = f"elapsed {_clock(self.clock() - self.began)}"
            lines = [
                f" {100 * share:.0f} %",  # behind the bar
                f"{done} of {of} models{f', {rate:,.0f} images/s' if rate else ''}",
                elapsed if left is None else f"{elapsed}, about {_clock(left)} left",
                *self._rows(width, max(1, room)),
            ]
        yield ProgressBar(total=1.0, completed=share, width=max(1, min(60, width - 6)))
        for line in lines:
            text = Text(line, no_wrap=True, overflow="ellipsis")
            for word, colour in _COLOURS.items():
                text.highlight_regex(rf"\b{word}\b", colour)
            yield text

    def _rows(self, width: int, room: int) -> list[str]:
        if len(self.study.lineages) == 1:
            names = [f"seed {seed}" for seed in self.study.seeds]
            texts = [[self._alone(seed)] for seed in self.study.seeds]
            going = [self.seeds[seed].at is not None for seed in self.study.seeds]
        else:
            names = [lineage.name for lineage in self.study.lineages]
            texts = [self._together(name) for name in names]
            going = [any(seed.at and seed.at.lineage == name for seed in self.seeds.values()) for name in names]
        column = min(max(map(cell_len, names)), max(12, width // 3))
        rows = [
            f"{_cut(name, column)}  {_fit(text, width - column - 2)}" for name, text in zip(names, texts, strict=True)
        ]
        if len(rows) <= room:
            return rows
        ranked = sorted(range(len(rows)), key=lambda number: not going[number])[: room - 1]
        return [*(rows[number] for number in sorted(ranked)), f"and {len(rows) - len(ranked)} more"]

    def _alone(self, number: int) -> str:
        """A seed of the only arm."""
        seed, arm = self.seeds[number], self.study.lineages[0].name
        if seed.at is None:
            return seed.states.get(arm, "waiting")
        between = seed.at.phase in ("kept", "finished")  # this generation and the next
        parts = [f"{_number(seed.at)} of {seed.at.generations}"] if seed.at.generations > 1 else []
        parts += [] if between else [f"{seed.at.generation}{_share(seed.at)}"]
        if seed.shares and seed.at.phase == "training":
            parts.append(f"gradient: {seed.shares}")
        return ", ".join(parts)

    def _together(self, arm: str) -> list[str]:
        """The seeds of an arm, in full, in short, and as numbers only."""
        full: dict[str, list[int]] = {}
        short: dict[str, list[int]] = {}
        counts: Counter[str] = Counter()
        for number, seed in self.seeds.items():
            at = seed.at if seed.at and seed.at.lineage == arm else None
            state = seed.states.get(arm, "waiting")
            full.setdefault(_place(at) if at else state, []).append(number)
            short.setdefault(_short_place(at) if at else state, []).append(number)
            counts["training" if at else state] += 1
        if len(self.seeds) == 1:
            return [*full, *short]
        one = "seeds " if len(next(iter(full.values()))) > 1 else "seed "
        return [
            one + "; ".join(f"{ranges(seeds)} {text}" for text, seeds in full.items()),
            "; ".join(f"{ranges(seeds)} {text}" for text, seeds in short.items()),
            "; ".join(f"{count} {text}" for text, count in counts.items()),
        ]


def _place(event: Event) -> str:
    """How far a seed is in its arm."""
    where = f"generation {_number(event)} of {event.generations}" if event.generations > 1 else "training"
    return f"{where}{_share(event)}"


def _short_place(event: Event) -> str:
    return f"at {_number(event)}/{event.generations}" if event.generations > 1 else "training"


def _number(event: Event) -> int:
    """The generation that is due, counted from 1."""
    return event.place + (2 if event.phase in ("kept", "finished") else 1)


def _share(event: Event) -> str:
    """How much of the generation is done."""
    if event.phase == "training":
        return f" ({100 * event.step / max(1, event.steps):.0f} %)"
    return " (measuring)" if event.phase == "measuring" else ""


def ranges(seeds: Sequence[int]) -> str:
    """Whole numbers in order, neighbours joined.

    >>> ranges([0, 1, 2, 5, 7, 8])
    '0-2, 5, 7-8'
    """
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _fit(texts: Sequence[str], width: int) -> str:
    """The fullest of several texts that fits, else the shortest."""
    return next((text for text in texts if cell_len(text) <= width), texts[-1])


def _cut(name: str, width: int) -> str:
    return set_cell_size(name, width) if cell_len(name) <= width else f"{set_cell_size(name, width - 1)}…"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
