"""What a command prints and writes: text from outside stays text, and none of it steers the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.errors import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    from tutelage.api import Progress
    from tutelage.report.table import Table

REPORT_SECONDS = 5.0
"""The time between two lines on how far a measurement is."""


def printable_lines(text: str) -> str:
    r"""Text of several lines, safe to print: all control characters but the ends of lines are escaped.

    >>> print(printable_lines("one\ntwo\x1b[2J"))
    one
    two\x1b[2J
    """
    return "\n".join(map(printable, text.split("\n")))


def print_lines(*lines: str) -> None:
    """Print each text as one line."""
    print("\n".join(map(printable, lines)))


def log(text: str) -> None:
    """Print to standard error; training does not end because nobody can read how it goes."""
    with contextlib.suppress(OSError):
        print(printable_lines(text), file=sys.stderr, flush=True)


def moves_cursor() -> bool:
    """Whether standard error is a terminal on which a view can be drawn again and again."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")


def print_tables(*tables: Table, wrap: bool = False) -> None:
    """Print tables; the text in them is not markup. With ``wrap`` every column may break its lines."""
    from rich.console import Console

    from tutelage.cli.streams import for_stream
    from tutelage.report.terminal import render

    def spell(text: str) -> str:
        return for_stream(text, sys.stdout)

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False, emoji=False)
    for table in tables:
        names = [column.name for column in table.columns]
        rendered = render(table, wrapped=names, spell=spell) if wrap else render(table, spell=spell)
        console.print(_Printable(rendered))


class _Printable:
    """Something that rich renders, made printable after its layout; the styles are rich's own."""

    def __init__(self, content: RenderableType) -> None:
        self.content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for segment in console.render(self.content, options):
            yield segment if segment.control else Segment(printable_lines(segment.text), segment.style)


def write_file(path: Path, text: str) -> None:
    """Write a file that was asked for, and print its path; nothing follows in a pipe or on a terminal."""
    from tutelage import storage

    storage.write_output(path, text.encode("utf-8", "backslashreplace"))
    if storage.is_regular(path):
        print_written(path)


def print_written(path: Path) -> None:
    """Print the path of a file that was written."""
    print_lines(f"written: {path}")


def write_tables(title: str, tables: Sequence[Table], command: str, markdown: Path | None, csv: Path | None) -> None:
    """Write tables to the files that were asked for, with the command that made them."""
    from tutelage.report.csv import tables_csv
    from tutelage.report.markdown import document

    if markdown is not None:
        write_file(markdown, document(title, tables, command))
    if csv is not None:
        write_file(csv, tables_csv(tables))


def check_files(*paths: Path | None) -> None:
    """Check, before any work, that files can be written under these paths.

    Errors: ``ValueError`` for a folder.
    """
    for path in paths:
        if path is not None and path.is_dir():
            raise ValueError(f"{path} is a folder: expected a file to write")


class ProgressLines:
    """A callback that prints to standard error how far a measurement is: every few seconds, and at its end."""

    def __init__(self, activity: str, noun: str = "") -> None:
        self.activity = activity
        self.noun = f" {noun}" if noun else ""
        self.printed_at = -REPORT_SECONDS

    def __call__(self, progress: Progress) -> None:
        """Print a line if it is time for one."""
        now = time.monotonic()
        if progress.done == progress.total or now - self.printed_at >= REPORT_SECONDS:
            count = f"{progress.done} of {progress.total}{self.noun}"
            log(f"{self.activity}: {count} ({printable(progress.last)})")
            self.printed_at = now
