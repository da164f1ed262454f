"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.report.format import escape_markdown, fenced
from tutelage.report.table import Table


def document(title: str, tables: Sequence[Table], command: str = "") -> str:
    """A page of Markdown: a title, the command that made it, and each table under a heading with its notes."""
    lines = [f"# {escape_markdown(title)}", ""]
    if command:
        lines += [*fenced(command), ""]
    for table in tables:
        lines += section(table)
    return "\n".join(lines).rstrip() + "\n"


def section(table: Table) -> list[str]:
    """The lines of one table under a heading, with its notes."""
    lines = [f"## {escape_markdown(table.title)}", ""]
    if table.rows:
        lines += [*rows(table), ""]
    return [*lines, *(line for note in table.notes for line in (escape_markdown(note), ""))]


def rows(table: Table) -> list[str]:
    """The lines of a table alone."""
    heading = [escape_markdown(column.name) for column in table.columns]
    cells = [[escape_markdown(cell.text) for cell in row] for row in table.rows]
    return [f"| {' | '.join(row)} |" for row in (heading, ["---"] * len(heading), *cells)]
