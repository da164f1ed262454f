"""The style of the charts: colours, shapes, and what their specifications have in common."""

from __future__ import annotations

from itertools import count
from typing import Any

from tutelage.analysis import Comparison
from tutelage.report.page.blocks import LegendEntry

Spec = dict[str, Any]

INK, PAPER, MUTED, BETTER, WORSE = "var(--ink)", "var(--paper)", "var(--muted)", "var(--c1)", "var(--c2)"
CANVAS: Spec = {
    "data": {"name": "rows"},
    "width": "container",
    "autosize": {"type": "fit-x", "contains": "padding"},
}
DASHED_RULE: Spec = {"type": "rule", "strokeDash": [6, 4], "stroke": INK, "strokeWidth": 1.5}
TOOLTIP: Spec = {"field": "_tooltip", "type": "nominal"}
DECADES = [10.0**power for power in range(-12, 5)]
_COLOURS, _SHADES = 6, 6
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
_DASHES = ((), (2, 2), (8, 3), (8, 3, 2, 3))
_LONGEST_LEGEND = 24
_MOST_TICKS = 10


def arm_styles(comparison: Comparison) -> dict[str, LegendEntry]:
    """How each arm is drawn in every chart: the reference in ink, the others in colours and shapes that differ."""
    names = [lineage.name for lineage in comparison.results.study.lineages]
    styles = {comparison.reference: LegendEntry(comparison.reference, INK, "circle", arm=True)}
    for number, name in enumerate(name for name in names if name != comparison.reference):
        # There are as many shapes as colours: one more shape on each turn, so that pairs repeat after all of them.
        turn = number // len(_SHAPES)
        shape, dash = _SHAPES[(number + turn) % len(_SHAPES)], _DASHES[turn % len(_DASHES)]
        styles[name] = LegendEntry(name, f"var(--c{1 + number % _COLOURS})", shape, dash, arm=True)
    return {name: styles[name] for name in names}


def arm_legend(comparison: Comparison) -> tuple[LegendEntry, ...]:
    """The legend of a chart whose colours are arms; empty where so many arms make the filter the legend."""
    entries = tuple(arm_styles(comparison).values())
    return entries if 1 < len(entries) <= _LONGEST_LEGEND else ()


def generation_legend(deepest: int) -> tuple[LegendEntry, ...]:
    """The legend of a chart whose colours are generations."""
    if not deepest:
        return ()
    return tuple(LegendEntry(f"generation {place}", shade(place, deepest)) for place in range(deepest + 1))


def shade(place: int, deepest: int) -> str:
    """The colour of a generation, on a scale from the first to the deepest one."""
    return f"var(--s{round((_SHADES - 1) * place / deepest) if deepest else _SHADES - 1})"


def whole_numbers(first: int, last: int) -> Spec:
    """An axis with ticks at whole numbers alone, each once: a format that rounds would show 0, 0.5 and 1 as 0, 1, 1.

    >>> whole_numbers(0, 1)["values"], whole_numbers(1, 164)["values"]
    ([0, 1], [20, 40, 60, 80, 100, 120, 140, 160])
    """
    steps = (factor * 10**power for power in count() for factor in (1, 2, 5))
    step = next(step for step in steps if last - first <= _MOST_TICKS * step)
    return {"values": [*range(-(-first // step) * step, last + 1, step)], "format": "d", "grid": False}


def literal(field: str) -> Spec:
    """A channel whose field holds colours, shapes or dashes themselves, without a scale."""
    return {"field": field, "type": "nominal", "scale": None, "legend": None}


def layer(condition: str, mark: Spec, encoding: Spec) -> Spec:
    """A layer of the rows for which a condition holds."""
    return {"transform": [{"filter": condition}], "mark": mark, "encoding": encoding}
