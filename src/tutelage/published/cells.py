"""Published tables read from the files of this folder."""

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
class Cell:
    """One printed number.

    ``paper`` is an arXiv id, or OWNER/NAME of a repository that goes with no paper. ``value`` and ``spread`` (a
    standard deviation, where one is printed) are in the unit that ``metric`` ends with. ``certainty`` says where the
    number was read: ``paper``, ``official code`` or ``secondary``; ``source`` says it more closely. ``notes`` are
    about this cell, for example where the paper contradicts itself.
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
        """What no other cell is called."""
        return f"{self.paper}, {self.table}: {self.row} / {self.column} ({self.metric})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A printed table, or the part of one that is in one metric; without cells where the numbers were not found."""

    paper: str
    title: str
    table: str
    caption: str
    certainty: str
    source: str
    metric: str
    data: str
    notes: tuple[str, ...]
    cells: tuple[Cell, ...]


def tables(paper: str | None = None) -> tuple[Table, ...]:
    """Every table of every paper, or of one.

    Errors: ``ValueError`` with the nearest papers.

    >>> [table.certainty for table in tables("1911.07471")]
    ['not found', 'not found', 'not found', 'not found', 'not found']
    """
    found = _all()
    if paper is None:
        return found
    _check("paper", paper, (table.paper for table in found))
    return tuple(table for table in found if table.paper == paper)


def cells(
    paper: str | None = None,
    table: str | None = None,
    *,
    row: str | None = None,
    column: str | None = None,
    metric: str | None = None,
) -> tuple[Cell, ...]:
    """The cells that fit what is asked for; a table whose numbers were not found has none.

    Errors: ``ValueError`` with the nearest names for a paper, table, row, column or metric that does not exist.

    >>> [cell.value for cell in cells("1805.05551", "1", row="DenseNet-100, D(0.6, 0.6)")]
    [23.96, 21.29, 20.51, 20.83, 21.01, 21.27]
    >>> cells("1805.05550")
    Traceback (most recent call last):
    ...
    ValueError: unknown paper '1805.05550': did you mean 1805.05551 or 1805.04770 or 2205.10536?
    """
    chosen = tables(paper)
    if table is not None:
        _check("table", table, (one.table for one in chosen))
        chosen = tuple(one for one in chosen if one.table == table)
    found = tuple(cell for one in chosen for cell in one.cells)
    for name, wanted in (("metric", metric), ("row", row), ("column", column)):
        if wanted is not None:
            _check(name, wanted, (getattr(cell, name) for cell in found))
            found = tuple(cell for cell in found if getattr(cell, name) == wanted)
    return found


def cell(paper: str, table: str, row: str, column: str, metric: str | None = None) -> Cell:
    """One cell.

    Errors: those of :func:`cells`; ``ValueError`` where the cell is empty, or is printed in several metrics.

    >>> cell("1909.11723", "1", "ResNet18, MobileNetV2", "Re-KD").spread
    0.28
    >>> cell("1805.05551", "1", "DenseNet-100, baseline", "gen 1")
    Traceback (most recent call last):
    ...
    ValueError: unknown column 'gen 1': did you mean gen 0?
    """
    found = cells(paper, table, row=row, column=column, metric=metric)
    if len(found) != 1:
        metrics = " and ".join(repr(one.metric) for one in found)
        raise ValueError(f"{row} / {column} of table {table} is printed in several metrics: say {metrics}")
    return found[0]


def _check(kind: str, given: str, known: Iterable[str]) -> None:
    choices = dict.fromkeys(known)
    if given not in choices:
        if not choices:
            raise ValueError(f"unknown {kind} {given!r}: the numbers of this table were not found")
        raise unknown(kind, given, choices)


@cache
def _all() -> tuple[Table, ...]:
    folder = files(__package__ or "tutelage.published")
    texts = sorted((path.name, path) for path in folder.iterdir() if path.name.endswith(".toml"))
    return tuple(table for _, path in texts for table in _read(tomllib.loads(path.read_text(encoding="utf-8"))))


def _read(document: Mapping[str, Any]) -> Iterator[Table]:
    for told in document["tables"]:
        known = {"paper": document["paper"], "table": told["table"], "certainty": told["certainty"]}
        known |= {"source": told.get("source", ""), "metric": told.get("metric", "")}
        remarks: dict[tuple[str, str], tuple[str, ...]] = {}
        for remark in told.get("remarks", ()):
            place = (remark["row"], remark["column"])
            remarks[place] = (*remarks.get(place, ()), remark["note"])
        made = []
        for row, values in told.get("rows", {}).items():
            for column, printed in zip(told["columns"], values, strict=True):
                if printed == "":
                    continue
                value, spread = printed if isinstance(printed, list) else (printed, None)
                notes = remarks.pop((row, column), ())
                made.append(Cell(**known, row=row, column=column, value=float(value), spread=spread, notes=notes))
        assert not remarks, f"remarks on cells that do not exist: {remarks}"
        yield Table(
            **known,
            title=document["title"],
            caption=told["caption"],
            data=told.get("data", ""),
            notes=tuple(told.get("notes", ())),
            cells=tuple(made),
        )
