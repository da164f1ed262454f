"""What a page is made of: sections with statements, tables, charts and listings, all of them plain values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

Mark = Literal["plain", "better", "worse", "open", "failed"]
Value = str | float | bool | tuple[int, ...] | None

_NUMBER = re.compile(r"[<+-]?\s*(\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)(?=$|[\s%])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A sentence that answers something; ``lead`` ones are what a reader in a hurry reads."""

    part: ClassVar[str] = "statement"
    text: str
    mark: Mark = "plain"
    lead: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns and rows of cells as they are printed.

    A column in which all cells begin with a number is sorted by these numbers. The filters of the page act on the
    columns ``arm`` and ``kind`` (``single`` or ``ensemble``), where there are such. ``code`` names columns of
    addresses and the like; ``folded`` tables open on request.
    """

    part: ClassVar[str] = "table"
    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    folded: bool = False

    @property
    def looks(self) -> str:
        """The classes of its element: ``n2`` if the second column is one of numbers, ``k3`` for a third of code."""
        found = []
        for place, name in enumerate(self.columns):
            cells = [cell for row in self.rows if (cell := row[place])]
            if name in self.code:
                found.append(f"k{place + 1}")
            elif cells and all(number(cell) is not None for cell in cells):
                found.append(f"n{place + 1}")
        return " ".join(found)


class Choice(NamedTuple):
    """One way to look at a chart: only those rows that have this value under ``key``."""

    label: str
    key: str
    value: Value


class Key(NamedTuple):
    """One line of a chart's key: a colour, the shape of its points as Vega names it, and the dashes of its line."""

    label: str
    colour: str
    shape: str = ""
    dash: tuple[int, ...] = ()
    arm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A Vega-Lite specification over the data named ``rows``, which it gets from here: flat rows of one set of keys.

    Keys that begin with an underscore are for drawing alone and stay out of the figure's CSV. The filters of the page
    act on the keys ``arm`` and ``kind``, ``choices`` on whatever they name; the first of them holds at first. Colours
    are the page's own (``var(--c1)``), so that they follow its theme.
    """

    part: ClassVar[str] = "chart"
    name: str
    title: str
    words: str
    spec: Mapping[str, Any]
    rows: tuple[Mapping[str, Value], ...]
    choices: tuple[Choice, ...] = ()
    key: tuple[Key, ...] = ()
    wide: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A long text as it is, a configuration for example; it opens on request if it is ``folded``."""

    part: ClassVar[str] = "listing"
    title: str
    text: str
    folded: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and what stands below it, in this order."""

    title: str
    words: tuple[str, ...] = ()
    blocks: tuple[Statement | Table | Chart | Listing, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One study on a page: what it is called, its answer in short, how its arms are drawn, and its sections.

    ``kinds`` says whether it has both single models and ensembles.
    """

    name: str
    title: str
    under: str
    leads: tuple[Statement, ...]
    arms: tuple[Key, ...]
    kinds: bool
    sections: tuple[Section, ...]


def number(cell: str) -> float | None:
    """The number that a printed cell begins with.

    >>> [number(cell) for cell in ("98.26 ± 0.31", "+0.64 (0.46 to 0.82)", "< 0.001", "1,234", "9 of 10", "2x")]
    [98.26, 0.64, 0.001, 1234.0, 9.0, None]
    """
    found = _NUMBER.match(cell)
    if found is None:
        return None
    size = float(found[1].replace(",", ""))
    return -size if cell.startswith("-") else size
