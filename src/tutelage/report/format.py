"""How numbers and names are written, once for every table, page and message."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.analysis import spread
from tutelage.errors import printable

Value = str | int | float | bool | None
"""What a cell stands for, and what it is sorted by."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A value and the text it is printed as; nothing is ever parsed back from the text."""

    text: str = ""
    value: Value = None


EMPTY = Cell()


def text(value: str) -> Cell:
    """A cell of plain text."""
    return Cell(value, value)


def mean_std(values: Sequence[float], *, digits: int = 2, scale: float = 1.0, sign: bool = False) -> Cell:
    """The mean ± standard deviation (divisor n - 1); no deviation for a single value, nothing for none.

    >>> mean_std([0.5, 0.25], scale=100).text, mean_std([0.5], sign=True).text, mean_std([]).text
    ('37.50 ± 17.68', '+0.50', '')
    """
    if not values:
        return EMPTY
    average, deviation = spread([scale * value for value in values])
    return Cell(plus_minus(average, deviation, digits=digits, sign=sign), average)


def plus_minus(average: float, deviation: float | None, *, digits: int = 2, sign: bool = False) -> str:
    """A mean ± its standard deviation, as :func:`mean_std` prints them.

    >>> plus_minus(37.5, 17.678), plus_minus(0.5, None, sign=True)
    ('37.50 ± 17.68', '+0.50')
    """
    after = "" if deviation is None else f" ± {deviation:.{digits}f}"
    return f"{average:{'+' if sign else ''}.{digits}f}{after}"


def duration(seconds: float) -> str:
    """A time to two or three digits, in the unit that people would use.

    >>> [duration(seconds) for seconds in (0.0123, 8.04, 400, 30_000, 600_000)]
    ['12.3 ms', '8.04 s', '6.67 min', '8.33 h', '6.94 days']
    """
    units = ((1e-3, "ms"), (1.0, "s"), (60.0, "min"), (3600.0, "h"), (86400.0, "days"))
    least = {"s": 1.0, "min": 90.0, "h": 5400.0, "days": 172800.0}
    size, unit = next(each for each in reversed(units) if seconds >= least.get(each[1], 0.0))
    value = seconds / size
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def percent(shares: Sequence[float], *, sign: bool = False) -> Cell:
    """Shares in [0, 1] as percent, see :func:`mean_std`.

    >>> percent([0.97, 0.98]).text, percent([0.97]).text
    ('97.50 ± 0.71', '97.00')
    """
    return mean_std(shares, scale=100.0, sign=sign)


def mean(values: Sequence[float], digits: int = 3) -> Cell:
    """The mean alone.

    >>> mean([0.5, 0.25]).text
    '0.375'
    """
    if not values:
        return EMPTY
    average, _ = spread(values)
    return Cell(f"{average:.{digits}f}", average)


def interval(
    low: float | None, high: float | None, *, scale: float = 100.0, digits: int = 2, sign: bool = False
) -> str:
    """An interval, empty where there is none; by default of shares, in percent.

    >>> interval(0.97, 0.99), interval(-0.01, 0.02, sign=True), interval(None, None)
    ('97.00 to 99.00', '-1.00 to +2.00', '')
    """
    if low is None or high is None:
        return ""
    form = f"{'+' if sign else ''}.{digits}f"
    return f"{scale * low:{form}} to {scale * high:{form}}"


def p_value(p: float | None) -> Cell:
    """A p-value with two digits, and none that pretends to be 0.

    >>> p_value(0.0312).text, p_value(0.00001).text, p_value(1.0).text
    ('0.031', '< 0.001', '1.0')
    """
    return EMPTY if p is None else Cell("< 0.001" if p < 0.001 else f"{p:#.2g}", p)


def out_of(done: int, total: int) -> str:
    """How many of all.

    >>> out_of(3, 3), out_of(2, 3)
    ('3', '2 of 3')
    """
    return f"{done}" if done == total else f"{done} of {total}"


def seeds(done: int, total: int, at_chance: int = 0) -> Cell:
    """How many seeds a mean is over, and how many of them are at chance.

    >>> seeds(3, 3).text, seeds(2, 3).text, seeds(3, 3, at_chance=1).text
    ('3', '2 of 3', '3 (1 at chance)')
    """
    return Cell(f"{out_of(done, total)}{f' ({at_chance} at chance)' if at_chance else ''}", done)


def join_names(names: Sequence[str], between: str = ", ", most: int = 12) -> str:
    """Names one after the other; of very many the first, and how many more there are.

    >>> join_names(["a", "b"]), join_names([str(n) for n in range(14)])
    ('a, b', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{between.join(names[:most])}{more}"


def slug(name: str) -> str:
    """A name as a part of a file name or an identifier.

    >>> slug("transfer linear (conv1)")
    'transfer-linear-conv1'
    """
    return re.sub(r"\W+", "-", name).strip("-")


def escape_markdown(value: str) -> str:
    r"""Text that stays text in Markdown, on one line.

    >>> print(escape_markdown("a*b"))
    a\*b
    """
    escaped = printable(value)
    for mark in "\\`*_[]<>|#":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped


def escape_csv(value: str) -> str:
    """Text that a spreadsheet does not take for a formula, nor a terminal for a command.

    >>> escape_csv("=1+1"), escape_csv("plain")
    ("'=1+1", 'plain')
    """
    escaped = printable(value)
    return f"'{escaped}" if escaped.lstrip()[:1] in tuple("=+-@") else escaped


def fenced(command: str) -> list[str]:
    """The lines of a command as a code block of Markdown, whose fence is longer than any run of backticks in it."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", command)), 0)
    return [f"{fence}sh", *map(printable, command.split("\n")), fence]
