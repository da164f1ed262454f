"""What ``diagnose`` and ``transfer`` share: sheets shown and written, and how far the measuring is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from tutelage.cli.console import draw, written
from tutelage.errors import printable

if TYPE_CHECKING:
    from tutelage.analysis.sheets import Sheet


class Counted(Protocol):
    """Something that is one of so many."""

    @property
    def number(self) -> int:
        """Which it is, from 1 on."""
        ...

    @property
    def of(self) -> int:
        """How many there are."""
        ...


Done = TypeVar("Done", bound=Counted)


def must_be_files(*paths: Path | None) -> None:
    """Make sure that what is to be written can be files.

    Errors: ``ValueError`` for a folder.
    """
    for path in paths:
        if path is not None and path.is_dir():
            raise ValueError(f"{path} is a folder: expected a file to write")


def show_sheets(title: str, sheets: Sequence[Sheet], command: str, markdown: Path | None, csv: Path | None) -> None:
    """Print sheets, and write the files that were asked for, with the ``command`` that made them."""
    from tutelage.report.table import sheet_table, sheets_csv, sheets_markdown

    for sheet in sheets:
        draw(sheet_table(sheet), "")
    if markdown is not None:
        written(markdown, sheets_markdown(title, sheets, command))
    if csv is not None:
        written(csv, sheets_csv(sheets))


def tell(doing: str, steps: Iterator[Done], of: Callable[[Done], str]) -> None:
    """Take all steps, saying how far they are every few seconds."""
    said = time.monotonic() - 5.0
    for done in steps:
        if time.monotonic() - said >= 5.0 or done.number == done.of:
            print(f"{doing}: {done.number} of {done.of} {printable(of(done))}", file=sys.stderr)
            said = time.monotonic()
