"""Plain tables with the numbers behind them: for a terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tutelage.report.comparison import _escaped, _harmless, fenced
from tutelage.study.results import spread

if TYPE_CHECKING:
    from rich.console import RenderableType

Plain = str | int | float | bool | None
Record = dict[str, Plain]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One table as plain data.

    ``rows`` are cells as they are printed, one for each of ``headings``; ``notes`` say how to read them and what is
    missing. ``series`` are the numbers for plots and CSV with all their digits: flat dictionaries of one set of keys.
    """

    name: str
    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    series: tuple[Record, ...] = ()


def sheet(
    name: str,
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
    series: Sequence[Record],
) -> Sheet:
    """Make a sheet of its rows, without the columns in which no row has anything.

    >>> sheet("energy", "Energy", ("arm", "mean"), [("plain", "")], [], []).headings
    ('arm',)
    """
    assert all(len(row) == len(headings) for row in rows)
    kept = [place for place in range(len(headings)) if not rows or any(row[place] for row in rows)]
    return Sheet(
        name=name,
        title=title,
        headings=tuple(headings[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in rows),
        notes=tuple(notes),
        series=tuple(series),
    )


def sheet_table(sheet: Sheet) -> RenderableType:
    """A sheet for a terminal; one without rows is its title and notes."""
    from rich.table import Table
    from rich.text import Text

    notes = " ".join(sheet.notes)
    if not sheet.rows:
        return Text(f"{sheet.title}\n{notes}")
    drawn = Table(title=Text(sheet.title), caption=Text(notes), title_justify="left", caption_justify="left")
    for heading, cells in zip(sheet.headings, zip(*sheet.rows, strict=True), strict=True):
        words = any(cell[:1].isalpha() for cell in cells)
        drawn.add_column(Text(heading), justify="left" if words else "right")
    for row in sheet.rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn


def sheets_markdown(title: str, sheets: Sequence[Sheet], command: str = "") -> str:
    """Sheets as a page of Markdown."""
    lines = [f"# {_escaped(title)}", ""]
    if command:
        lines += [*fenced(command), ""]
    for sheet in sheets:
        lines += [f"## {_escaped(sheet.title)}", ""]
        if sheet.rows:
            rows = [sheet.headings, ("---",) * len(sheet.headings), *sheet.rows]
            lines += [*(f"| {' | '.join(map(_escaped, row))} |" for row in rows), ""]
        lines += [text for note in sheet.notes for text in (_escaped(note), "")]
    return "\n".join(lines).rstrip() + "\n"


def sheets_csv(sheets: Sequence[Sheet]) -> str:
    """The series of all sheets as one CSV: the column ``diagnostic`` names the sheet, columns it lacks are empty.

    Text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    names = dict.fromkeys(name for sheet in sheets for record in sheet.series for name in record)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=["diagnostic", *names], lineterminator="\n")
    writer.writeheader()
    for sheet in sheets:
        for record in sheet.series:
            safe = {name: _harmless(value) if isinstance(value, str) else value for name, value in record.items()}
            writer.writerow({"diagnostic": sheet.name} | safe)
    return text.getvalue()


def over(values: Sequence[Plain], digits: int = 2, scale: float = 1.0, sign: str = "") -> str:
    """Mean ± standard deviation of the numbers among the values; no spread for a single one.

    >>> over([0.5, 0.25], scale=100), over([0.5, None], sign="+"), over([])
    ('37.50 ± 17.68', '+0.50', '')
    """
    known = [scale * value for value in values if isinstance(value, float)]
    if not known:
        return ""
    mean, deviation = spread(known)
    return f"{mean:{sign}.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def points(values: Sequence[Plain], sign: str = "") -> str:
    """Shares as percent, see :func:`over`."""
    return over(values, 2, 100.0, sign)
