"""A table of cells; terminal, Markdown and page print it, CSV writes the records behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tutelage.report.format import Cell, Value

Kind = Literal["text", "number", "code"]
Record = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, and what stands below it: text, numbers (right-aligned, sorted by value) or code (addresses)."""

    name: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns and rows of cells.

    ``notes`` say how to read it and what is missing. ``records`` are the numbers behind it with all their digits, in
    units of their own: flat mappings of one set of keys, for CSV. On the page, ``folded`` tables open on request.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    records: tuple[Record, ...] = ()
    folded: bool = False

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.name

    def column(self, name: str) -> tuple[Cell, ...]:
        """The cells of one column."""
        place = [column.name for column in self.columns].index(name)
        return tuple(row[place] for row in self.rows)


def make_table(
    name: str,
    title: str,
    columns: Sequence[Column | str],
    rows: Sequence[Sequence[Cell]],
    notes: Sequence[str] = (),
    records: Sequence[Record] = (),
    *,
    folded: bool = False,
) -> Table:
    """Make a table without the columns in which every cell is empty.

    A column of which only the name is there holds numbers where every cell that is not empty has one.

    >>> row = Cell("plain", "plain"), Cell("1", 1.0), Cell()
    >>> table = make_table("energy", "Energy", ["arm", "mean", "p"], [row])
    >>> [(column.name, column.kind) for column in table.columns]
    [('arm', 'text'), ('mean', 'number')]
    """
    full = [_column(column, [row[place] for row in rows]) for place, column in enumerate(columns)]
    shown = [place for place in range(len(full)) if not rows or any(row[place].text for row in rows)]
    return Table(
        name=name,
        title=title,
        columns=tuple(full[place] for place in shown),
        rows=tuple(tuple(row[place] for place in shown) for row in rows),
        notes=tuple(notes),
        records=tuple(records),
        folded=folded,
    )


def _column(column: Column | str, cells: Sequence[Cell]) -> Column:
    if isinstance(column, Column):
        return column
    values = [cell.value for cell in cells if cell.text]
    numbers = values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return Column(column, "number" if numbers else "text")
