"""Plain tables with the numbers behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.analysis.results import spread

Plain = str | int | float | bool | None
Record = dict[str, Plain]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One table as plain data.

    ``rows`` are cells as they are printed, one for each of ``headings``; ``notes`` say how to read them and what is
    missing. ``series`` are the numbers for plots and CSV with all their digits: flat dictionaries of one set of keys.
    """

    name: str
    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    series: tuple[Record, ...] = ()


def sheet(
    name: str,
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
    series: Sequence[Record],
) -> Sheet:
    """Make a sheet of its rows, without the columns in which no row has anything.

    >>> sheet("energy", "Energy", ("arm", "mean"), [("plain", "")], [], []).headings
    ('arm',)
    """
    assert all(len(row) == len(headings) for row in rows)
    kept = [place for place in range(len(headings)) if not rows or any(row[place] for row in rows)]
    return Sheet(
        name=name,
        title=title,
        headings=tuple(headings[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in rows),
        notes=tuple(notes),
        series=tuple(series),
    )


def over(values: Sequence[Plain], digits: int = 2, scale: float = 1.0, sign: str = "") -> str:
    """Mean ± standard deviation of the numbers among the values; no spread for a single one.

    >>> over([0.5, 0.25], scale=100), over([0.5, None], sign="+"), over([])
    ('37.50 ± 17.68', '+0.50', '')
    """
    known = [scale * value for value in values if isinstance(value, float)]
    if not known:
        return ""
    mean, deviation = spread(known)
    return f"{mean:{sign}.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def points(values: Sequence[Plain], sign: str = "") -> str:
    """Shares as percent, see :func:`over`."""
    return over(values, 2, 100.0, sign)
