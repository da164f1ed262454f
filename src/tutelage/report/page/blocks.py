"""The blocks of a page: sections of statements, tables, charts and listings, all of them plain values.

A table is a :class:`tutelage.report.table.Table`. The page sorts its columns of numbers by the values of their cells,
and its filters act on the columns ``arm`` and ``kind`` (``single`` or ``ensemble``), where there are such.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tutelage.report.table import Table

Mark = Literal["plain", "better", "worse", "open", "failed"]
Value = str | float | bool | tuple[int, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A sentence of the answer; those that ``lead`` are set large, for a reader in a hurry."""

    text: str
    mark: Mark = "plain"
    lead: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """An option of a chart's menu: show only the rows that have this value in this field."""

    label: str
    field: str
    value: Value


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A line of a legend: its colour, the shape of its points as Vega names it, and the dashes of its line.

    ``arm`` says that the label is the name of an arm, which the filters hide and show.
    """

    label: str
    colour: str
    shape: str = ""
    dash: tuple[int, ...] = ()
    arm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A Vega-Lite specification over data named ``rows``: flat mappings that all have the same keys.

    Keys that begin with an underscore are for drawing alone and are left out of the figure's CSV. The filters of the
    page act on the keys ``arm`` and ``kind``; of the ``choices``, the first is selected at first. Colours are CSS
    variables of the page (``var(--c1)``), so that they follow its theme.
    """

    name: str
    title: str
    caption: str
    spec: Mapping[str, Any]
    rows: tuple[Mapping[str, Value], ...]
    choices: tuple[Choice, ...] = ()
    legend: tuple[LegendEntry, ...] = ()
    wide: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A long text in a fixed-width font, a configuration for example; a ``folded`` one opens on request."""

    title: str
    text: str
    folded: bool = True


Block = Statement | Table | Chart | Listing


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading, its paragraphs, and the blocks below them in this order."""

    title: str
    text: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPart:
    """The part of a page that shows one study: its title, its answer in short, and its sections.

    ``arms`` are the entries of the filter. With ``ensembles`` the filter separates them from single models.
    """

    name: str
    title: str
    subtitle: str
    answer: tuple[Statement, ...]
    arms: tuple[LegendEntry, ...]
    ensembles: bool
    sections: tuple[Section, ...]
