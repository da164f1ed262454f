"""Read published tables from the TOML files of this folder."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from tutelage.errors import unknown

NOT_FOUND = "not found"
CERTAINTIES = ("paper", "official code", "secondary", NOT_FOUND)
METRICS = (
    "top-1 accuracy %",
    "top-1 error %",
    "top-5 error %",
    "top-1 accuracy gain, points",
    "top-1 error gain, points",
    "top-5 error gain, points",
    "mean score %",
    "training accuracy %",
    "perplexity",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCell:
    """One printed number.

    ``paper`` is an arXiv id, or OWNER/NAME of a repository that belongs to no paper. ``value`` and ``spread`` (a
    standard deviation, where one is printed) are in the unit at the end of ``metric``. ``certainty`` says where the
    number was read: ``paper``, ``official code`` or ``secondary``; ``source`` gives the details. ``notes`` are about
    this cell, for example where the paper contradicts itself.
    """

    paper: str
    table: str
    row: str
    column: str
    metric: str
    value: float
    spread: float | None
    certainty: str
    source: str
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the cell, which no other cell has."""
        return f"{self.paper}, {self.table}: {self.row} / {self.column} ({self.metric})"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedTable:
    """A printed table, or the part of it that is in one metric; it has no cells if its numbers were not found."""

    paper: str
    title: str
    table: str
    caption: str
    certainty: str
    source: str
    metric: str
    data: str
    notes: tuple[str, ...]
    cells: tuple[PublishedCell, ...]


def tables(paper: str | None = None) -> tuple[PublishedTable, ...]:
    """Every table of every paper, or of one paper.

    Errors: ``ValueError`` with the nearest papers.

    >>> [table.certainty for table in tables("1911.07471")]
    ['not found', 'not found', 'not found', 'not found', 'not found']
    """
    every = _all_tables()
    if paper is None:
        return every
    _check_name("paper", paper, (table.paper for table in every))
    return tuple(table for table in every if table.paper == paper)


def cells(
    paper: str | None = None,
    table: str | None = None,
    *,
    row: str | None = None,
    column: str | None = None,
    metric: str | None = None,
) -> tuple[PublishedCell, ...]:
    """The cells of this paper, table, row, column and metric; a table whose numbers were not found has none.

    Errors: ``ValueError`` with the nearest names for a paper, table, row, column or metric that does not exist.

    >>> [cell.value for cell in cells("1805.05551", "1", row="DenseNet-100, D(0.6, 0.6)")]
    [23.96, 21.29, 20.51, 20.83, 21.01, 21.27]
    >>> cells("1805.05550")
    Traceback (most recent call last):
    ...
    ValueError: unknown paper '1805.05550': did you mean 1805.05551 or 1805.04770 or 2205.10536?
    """
    selected = tables(paper)
    if table is not None:
        _check_name("table", table, (one.table for one in selected))
        selected = tuple(one for one in selected if one.table == table)
    matching = tuple(cell for one in selected for cell in one.cells)
    for field, name in (("metric", metric), ("row", row), ("column", column)):
        if name is not None:
            _check_name(field, name, (getattr(cell, field) for cell in matching))
            matching = tuple(cell for cell in matching if getattr(cell, field) == name)
    return matching


def cell(paper: str, table: str, row: str, column: str, metric: str | None = None) -> PublishedCell:
    """One cell.

    Errors: those of :func:`cells`; ``ValueError`` if the cell is empty, or is printed in several metrics.

    >>> cell("1909.11723", "1", "ResNet18, MobileNetV2", "Re-KD").spread
    0.28
    >>> cell("1805.05551", "1", "DenseNet-100, baseline", "gen 1")
    Traceback (most recent call last):
    ...
    ValueError: unknown column 'gen 1': did you mean gen 0?
    """
    matching = cells(paper, table, row=row, column=column, metric=metric)
    if len(matching) != 1:
        metrics = " or ".join(repr(one.metric) for one in matching)
        raise ValueError(f"{row} / {column} of table {table} is printed in several metrics: choose {metrics}")
    return matching[0]


def _check_name(kind: str, name: str, names: Iterable[str]) -> None:
    choices = dict.fromkeys(names)
    if name not in choices:
        if not choices:
            raise ValueError(f"unknown {kind} {name!r}: the numbers of this table were not found")
        raise unknown(kind, name, choices)


@cache
def _all_tables() -> tuple[PublishedTable, ...]:
    folder = files("tutelage.published")
    paths = sorted((path for path in folder.iterdir() if path.name.endswith(".toml")), key=lambda path: path.name)
    return tuple(table for path in paths for table in _read_tables(tomllib.loads(path.read_text(encoding="utf-8"))))


def _read_tables(document: Mapping[str, Any]) -> Iterator[PublishedTable]:
    for entry in document["tables"]:
        shared = {
            "paper": document["paper"],
            "table": entry["table"],
            "certainty": entry["certainty"],
            "source": entry.get("source", ""),
            "metric": entry.get("metric", ""),
        }
        yield PublishedTable(
            **shared,
            title=document["title"],
            caption=entry["caption"],
            data=entry.get("data", ""),
            notes=tuple(entry.get("notes", ())),
            cells=tuple(_read_cells(entry, shared)),
        )


def _read_cells(entry: Mapping[str, Any], shared: Mapping[str, str]) -> Iterator[PublishedCell]:
    """The cells of a table that are not empty; ``shared`` are the fields that are the same in all of them."""
    notes: dict[tuple[str, str], tuple[str, ...]] = {}
    for remark in entry.get("remarks", ()):
        place = (remark["row"], remark["column"])
        notes[place] = (*notes.get(place, ()), remark["note"])
    for row, values in entry.get("rows", {}).items():
        for column, printed in zip(entry["columns"], values, strict=True):
            if printed == "":
                continue
            value, spread = printed if isinstance(printed, list) else (printed, None)
            yield PublishedCell(
                **shared,
                row=row,
                column=column,
                value=float(value),
                spread=spread,
                notes=notes.pop((row, column), ()),
            )
    assert not notes, f"remarks on cells that do not exist: {notes}"
