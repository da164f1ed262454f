"""Show a running study: a live view in a terminal, one line per generation elsewhere."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from tutelage.cli.console import log, moves_cursor, printable_lines
from tutelage.lineage import Finished
from tutelage.study import Event, Execution, Failed, SeedStopped, Study, Warned


def follow(events: Iterator[Event], study: Study, execution: Execution) -> int:
    """Show a study's events; returns the number of failures.

    Nothing is printed before the first event: whatever is wrong with the request is raised by then.
    """
    first = next(events, None)
    log(f"{study.name}: {execution.describe(len(study.seeds))}")
    all_events = itertools.chain([] if first is None else [first], events)
    return _show_live(all_events, study, execution) if moves_cursor() else _show_lines(all_events, study)


def _show_lines(events: Iterable[Event], study: Study) -> int:
    failures = 0
    for event in events:
        failures += isinstance(event, Failed)
        if line := _line(event, study):
            log(line)
    return failures


def _show_live(events: Iterable[Event], study: Study, execution: Execution) -> int:
    from rich.console import Console
    from rich.live import Live

    from tutelage.cli.live_view import LiveView

    failures = 0
    console = Console(stderr=True, highlight=False)
    view = LiveView(study, execution.processes)
    with Live(view, console=console, transient=True):
        for event in events:
            failures += isinstance(event, Failed)
            view.update(event)
            if line := _line(event, study):
                console.print(printable_lines(line), markup=False)
    return failures


def _line(event: Event, study: Study) -> str | None:
    """The line that an event is worth; None for mere progress."""
    match event:
        case Warned():
            return f"{_where(event.seed, event.arm, study)} warning: {event.message}"
        case Failed():
            return f"{_where(event.seed, event.arm, study)} failed: {event.message}"
        case SeedStopped():
            return f"{_where(event.seed, '', study)} stopped: {event.message}"
        case Finished():
            how = "already trained" if event.seconds is None else f"trained in {event.seconds:.1f} s"
            top1 = 100 * event.measures["test/top1"]
            chance = ", at chance" if event.at_chance else ""
            where = _where(event.seed, event.arm, study)
            return f"{where}, {event.model.generation}: {how}, test top-1 {top1:.2f}{chance}"
    return None


def _where(seed: int, arm: str, study: Study) -> str:
    return f"seed {seed}, {arm}" if arm and len(study.lineages) > 1 else f"seed {seed}"
