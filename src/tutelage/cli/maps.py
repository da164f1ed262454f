"""The table of what image files were prepared to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.errors import printable

if TYPE_CHECKING:
    from tutelage.data.maps import PreparedMap
    from tutelage.report.format import Cell
    from tutelage.report.table import Table


def maps_table(maps: Sequence[PreparedMap]) -> Table:
    """One row per map, the one that was used last first."""
    from tutelage.report.format import text
    from tutelage.report.table import Column, make_table

    def row(each: PreparedMap) -> list[Cell]:
        used = text(time.strftime("%Y-%m-%d %H:%M", time.localtime(each.used)))
        note = each.note
        if note is None:
            return [text(each.name), text("unknown"), text(""), text(""), text(""), _size(each), used]
        size = printable(str(note.preparation.get("size", "")))[:12]
        resize = printable(str(note.preparation.get("resize", "")))[:12]
        gone = "" if Path(note.path).exists() else " (no longer there)"
        images = f"{note.images:,}" if note.finished else f"{note.rows:,} of {note.images:,}"
        return [
            text(each.name),
            text(f"{note.path}{gone}"),
            text(size),
            text(resize),
            text(images),
            _size(each),
            used,
        ]

    names = ("dataset", "size", "resize", "images", "space", "last used")
    columns = (Column("name", "code"), *map(Column, names))
    notes = ("`tutelage data remove NAME` frees the space; a run that needs the images prepares them again.",)
    return make_table("maps", "Prepared images", columns, [row(each) for each in maps], notes)


def _size(each: PreparedMap) -> Cell:
    from tutelage.report.format import text

    return text(megabytes(each.size))


def megabytes(size: int) -> str:
    """A number of bytes in MB.

    >>> megabytes(1_234_567_890)
    '1,234.6 MB'
    """
    return f"{size / 1e6:,.1f} MB"
