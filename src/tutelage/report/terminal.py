"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tutelage.report.table import Table

if TYPE_CHECKING:
    from rich.console import RenderableType


def render(
    table: Table, *, wrapped: Sequence[str] = ("verdict", "printed as"), spell: Callable[[str], str] = str
) -> RenderableType:
    """A table for a terminal; one without rows is its title and notes. Only the ``wrapped`` columns break lines.

    ``spell`` replaces what the terminal cannot show, before the widths of the columns are computed.
    """
    from rich.table import Table as RichTable
    from rich.text import Text

    title, notes = spell(table.title), spell("\n".join(table.notes))
    if not table.rows:
        return Text(f"{title}\n{notes}")
    rendered = RichTable(title=Text(title), caption=Text(notes), title_justify="left", caption_justify="left")
    for column in table.columns:
        rendered.add_column(
            Text(spell(column.name)),
            justify="right" if column.kind == "number" else "left",
            no_wrap=column.name not in wrapped,
        )
    for row in table.rows:
        rendered.add_row(*(Text(spell(cell.text)) for cell in row))
    return rendered
