"""What a running study looks like: a live view in a terminal, a line a generation elsewhere."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Iterable, Iterator

from tutelage.cli.console import lines
from tutelage.cli.signals import Flag
from tutelage.study import Event, Execution, Study


def say(text: str) -> None:
    """Print a line to standard error; a training does not end because nobody can read how it goes."""
    with contextlib.suppress(OSError):
        print(lines(text), file=sys.stderr, flush=True)


def heard(events: Iterator[Event], stop: Flag) -> Iterator[Event]:
    """The events; before the first one there is nothing to save, from then on a signal waits for that."""
    for event in events:
        if not stop.listening:
            stop.listen()
        yield event


def follow(events: Iterator[Event], study: Study, machine: Execution) -> int:
    """Show a study's events; returns the number of seeds that failed."""
    first = next(events, None)  # whatever is wrong with the request is raised here, before a word is said
    say(f"{study.name}: {machine.describe(len(study.seeds))}")
    events = itertools.chain([] if first is None else [first], events)
    # A terminal that cannot move its cursor gets lines too.
    live = sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    return _live(events, study, machine) if live else _lines(events, study)


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
        lost = ", at chance" if event.at_chance else ""
        return f"{where}, {event.generation}: {how}, test top-1 {100 * event.top1:.2f}{lost}"
    return None


def _lines(events: Iterable[Event], study: Study) -> int:
    failed = 0
    for event in events:
        failed += event.phase == "failed"
        if said := _said(event, study):
            say(said)
    return failed


def _live(events: Iterable[Event], study: Study, machine: Execution) -> int:
    from rich.console import Console
    from rich.live import Live

    from tutelage.cli.live_view import Board

    failed = 0
    console = Console(stderr=True, highlight=False)
    board = Board(study, machine.processes)
    with Live(board, console=console, transient=True):
        for event in events:
            failed += event.phase == "failed"
            board.tell(event)
            if said := _said(event, study):
                console.print(lines(said), markup=False)
    return failed
