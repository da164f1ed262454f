"""Experiments of the papers on the command line: which there are, and what of one is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tutelage.study import Event, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A study, the experiment that it is a part of, in what it differs from it, and the trackers that are named."""

    study: Study
    experiment: str = ""
    note: str = ""
    track: tuple[str, ...] | None = None


def is_file(given: Path) -> bool:
    """Whether a word stands for a study's file and not for an experiment.

    >>> is_file(Path("nowhere.toml")), is_file(Path("tolerant/table-1/densenet-100"))
    (True, False)
    """
    return given.suffix == ".toml" or given.is_file()


def part_of(name: str, scale: float, until: int | None, arms: Sequence[str]) -> Asked:
    """What is asked for of an experiment.

    Errors: ``ValueError`` with the nearest names, or with the numbers that would have done.
    """
    from tutelage.experiments import find
    from tutelage.experiments.scale import changes, reduced

    experiment = find(name)
    study = reduced(experiment, scale=scale, until=until, arms=arms)
    changed = changes(experiment.study, study)
    return Asked(study=study, experiment=name, note=f"{name}: {', '.join(changed)}" if changed else "")


def announced(events: Iterator[Event], note: str, say: Callable[[str], None]) -> Iterator[Event]:
    """The events, with a note before the first of them: of a request that failed nothing is said."""
    for number, event in enumerate(events):
        if number == 0 and note:
            say(note)
        yield event


def listing() -> Iterator[str]:
    """A line an experiment, then a line for each table that tutelage cannot run."""
    from tutelage.experiments import experiments, left_out

    for name, experiment in experiments().items():
        yield f"{name:<52} {experiment.about}"
    groups: dict[tuple[str, str], list[str]] = {}
    for name, reason in left_out().items():
        table, _, case = name.rpartition("/")
        groups.setdefault((table, reason), []).append(case)
    for (table, reason), cases in groups.items():
        yield f"not here: {table}/{' '.join(cases)}: {reason}"
