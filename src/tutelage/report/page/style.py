"""How the charts of a page look: colours, shapes and what their specifications have in common."""

from __future__ import annotations

from typing import Any

from tutelage.analysis import Comparison
from tutelage.report.page.blocks import Key

Spec = dict[str, Any]

INK, PAPER, MUTED, BETTER, WORSE = "var(--ink)", "var(--paper)", "var(--muted)", "var(--c1)", "var(--c2)"
CANVAS: Spec = {
    "data": {"name": "rows"},
    "width": "container",
    "autosize": {"type": "fit-x", "contains": "padding"},
}
DASHED: Spec = {"type": "rule", "strokeDash": [6, 4], "stroke": INK, "strokeWidth": 1.5}
TOLD: Spec = {"field": "_told", "type": "nominal"}
DECADES = [10.0**power for power in range(-12, 5)]
_COLOURS, _SHADES = 6, 6
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
_DASHES = ((), (2, 2), (8, 3), (8, 3, 2, 3))
_MOST_IN_A_KEY = 24


def styles(comparison: Comparison) -> dict[str, Key]:
    """How each arm is drawn, everywhere: the reference in ink, the others in colours and shapes that differ."""
    names = [lineage.name for lineage in comparison.results.study.lineages]
    found = {comparison.reference: Key(comparison.reference, INK, "circle", arm=True)}
    for number, name in enumerate(name for name in names if name != comparison.reference):
        turn = number // len(_SHAPES)
        shape, dash = _SHAPES[(number + turn) % len(_SHAPES)], _DASHES[turn % len(_DASHES)]
        found[name] = Key(name, f"var(--c{1 + number % _COLOURS})", shape, dash, arm=True)
    return {name: found[name] for name in names}


def arm_keys(comparison: Comparison) -> tuple[Key, ...]:
    """The key of a chart in which colours are arms; the filter is the key where they are very many."""
    keys = tuple(styles(comparison).values())
    return keys if 1 < len(keys) <= _MOST_IN_A_KEY else ()


def generation_keys(deepest: int) -> tuple[Key, ...]:
    """The key of a chart in which colours are generations."""
    return tuple(Key(f"generation {place}", shade(place, deepest)) for place in range(deepest + 1)) if deepest else ()


def shade(place: int, deepest: int) -> str:
    """The colour of a generation, from the first to the last of them."""
    return f"var(--s{round((_SHADES - 1) * place / deepest) if deepest else _SHADES - 1})"


def as_is(field: str) -> Spec:
    """A channel that takes colours, shapes or dashes as they stand in the data."""
    return {"field": field, "type": "nominal", "scale": None, "legend": None}


def only(condition: str, mark: Spec, encoding: Spec) -> Spec:
    """A layer of the rows for which a condition holds."""
    return {"transform": [{"filter": condition}], "mark": mark, "encoding": encoding}


def count_of_seeds(count: int) -> str:
    """So many seeds.

    >>> count_of_seeds(1), count_of_seeds(3)
    ('1 seed', '3 seeds')
    """
    return f"{count} seeds" if count > 1 else "1 seed"
