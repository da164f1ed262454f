"""Plain tables with the numbers behind them: for a terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tutelage.analysis.sheets import Sheet
from tutelage.report.comparison import _escaped, _harmless, fenced

if TYPE_CHECKING:
    from rich.console import RenderableType


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
