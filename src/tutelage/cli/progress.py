"""What a running study looks like: a bar a seed in a terminal, a line a generation elsewhere."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from tutelage.study import Event, Machine, Study


def follow(events: Iterator[Event], study: Study, machine: Machine) -> int:
    """Show a study's events; returns the number of seeds that failed."""
    first = next(events, None)  # whatever is wrong with the request is raised here, before a word is said
    print(f"{study.name}: {machine.describe(len(study.seeds))}", file=sys.stderr, flush=True)
    events = itertools.chain([] if first is None else [first], events)
    return _bars(events, study) if sys.stderr.isatty() else _lines(events, study)


def _said(event: Event, study: Study) -> str | None:
    """The line an event is worth, None for mere progress."""
    where = f"seed {event.seed}"
    if len(study.lineages) > 1 and event.lineage:
        where += f", {event.lineage}"
    if event.phase in ("warning", "failed", "stopped"):
        return f"{where} {event.phase}: {event.text}"
    if event.phase in ("kept", "finished"):
        how = "found trained" if event.phase == "kept" else f"trained in {event.seconds:.1f} s"
        assert event.top1 is not None
        return f"{where}, {event.generation}: {how}, test top-1 {100 * event.top1:.2f}"
    return None


def _lines(events: Iterable[Event], study: Study) -> int:
    failed = 0
    for event in events:
        failed += event.phase == "failed"
        if said := _said(event, study):
            print(said, file=sys.stderr, flush=True)
    return failed


def _bars(events: Iterable[Event], study: Study) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    failed = 0
    console = Console(stderr=True, highlight=False)
    sizes = [len(lineage.generations) for lineage in study.lineages]
    before = {lineage.name: sum(sizes[:number]) for number, lineage in enumerate(study.lineages)}
    columns = ("{task.description}", BarColumn(), "{task.percentage:>3.0f}%", TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
        tasks: dict[int, Any] = {}
        began: dict[int, tuple[float, int]] = {}
        shares: dict[int, str] = {}
        for event in events:
            failed += event.phase == "failed"
            if said := _said(event, study):
                console.print(said, markup=False)
            if event.seed not in tasks and event.generations:
                tasks[event.seed] = bars.add_task(f"seed {event.seed}", total=sum(sizes), rate="")
            if event.phase == "training":
                now = time.monotonic()
                start, first = began.setdefault(event.seed, (now, event.images))
                rate = f"{(event.images - first) / (now - start):,.0f} images/s" if now - start > 1 else ""
                shares[event.seed] = event.text or shares.get(event.seed, "")
                meter = f"gradient: {shares[event.seed]}" if shares[event.seed] else ""
                arm = f"{event.lineage}, " if len(sizes) > 1 else ""
                text = f"seed {event.seed}, {arm}{event.generation}"
                done = before[event.lineage] + event.place + event.step / max(1, event.steps)
                bars.update(tasks[event.seed], description=text, completed=done, rate=f"{rate} {meter}")
            elif event.phase in ("kept", "finished"):
                began.pop(event.seed, None)
                shares.pop(event.seed, None)
                bars.update(tasks[event.seed], completed=before[event.lineage] + event.place + 1)
    return failed
