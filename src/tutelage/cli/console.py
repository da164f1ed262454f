"""What a command prints: names that came from outside stay text, and none of them steers the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.errors import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment


def lines(text: str) -> str:
    r"""A text of several lines, of which only the ends of lines do more than show.

    >>> print(lines("one\ntwo\x1b[2J"))
    one
    two\x1b[2J
    """
    return "\n".join(map(printable, text.split("\n")))


def say(*told: str) -> None:
    """Print lines, each of them as one."""
    print("\n".join(map(printable, told)))


def written(path: Path, text: str) -> None:
    """Write a file that was asked for, and say so."""
    from tutelage import storage

    storage.write_bytes(path, text.encode("utf-8", "backslashreplace"))
    say(f"written: {path}")


def draw(*drawn: RenderableType) -> None:
    """Print tables; what they hold is no markup."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False, emoji=False)
    for table in drawn:
        console.print(_Plain(table))


class _Plain:
    """Something drawn, its text made printable once it is laid out; the styles are rich's own."""

    def __init__(self, drawn: RenderableType) -> None:
        self.drawn = drawn

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for segment in console.render(self.drawn, options):
            yield segment if segment.control else Segment(lines(segment.text), segment.style)
