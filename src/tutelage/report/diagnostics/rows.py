"""The parts that the rows of all diagnostics share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from tutelage.analysis.diagnostics.catalog import Diagnostics
from tutelage.analysis.diagnostics.records import GenerationRecord
from tutelage.report.format import EMPTY, Cell, Value, seeds, text
from tutelage.report.table import Record

R = TypeVar("R", bound=GenerationRecord)

HEAD = ("arm", "generation", "seeds")
"""The first columns of a diagnostic."""


def head(record: GenerationRecord, count: int, diagnostics: Diagnostics) -> tuple[Cell, ...]:
    """The cells of the first columns, for numbers of so many seeds."""
    return text(record.arm), text(record.generation), seeds(count, len(diagnostics.seeds))


def by_generation(records: Iterable[R]) -> list[list[R]]:
    """The records of each generation, in order."""
    groups: dict[tuple[str, int], list[R]] = {}
    for record in records:
        groups.setdefault((record.arm, record.place), []).append(record)
    return list(groups.values())


def numbers(record: GenerationRecord, values: Mapping[str, Value]) -> Record:
    """The numbers behind a table, under the generation they belong to."""
    return {"arm": record.arm, "generation": record.generation, "place": record.place, **values}


def known(values: Iterable[float | None]) -> list[float]:
    """The values that are there."""
    return [value for value in values if value is not None]


def number(value: float | None, digits: int = 4, scale: float = 1.0) -> Cell:
    """One number; an empty cell for None.

    >>> number(0.5).text, number(0.5, digits=2, scale=100).text, number(None).text
    ('0.5000', '50.00', '')
    """
    return EMPTY if value is None else Cell(f"{scale * value:.{digits}f}", scale * value)


def join_teachers(teachers: Sequence[str]) -> Cell:
    """The names of the teachers of a generation."""
    return text(" and ".join(teachers))
