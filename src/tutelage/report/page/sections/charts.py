"""The charts of a study: numbers over the seeds, and Vega-Lite specifications that draw them."""

from __future__ import annotations

from collections.abc import Iterator

from tutelage.analysis import ArmResult, Comparison, Results, Row
from tutelage.analysis.comparison import of
from tutelage.analysis.results import Measures
from tutelage.analysis.statistics import summary
from tutelage.report.comparison import _interval, probability
from tutelage.report.page.blocks import Chart, Choice, Value
from tutelage.report.page.style import (
    BETTER,
    CANVAS,
    DASHED,
    INK,
    MUTED,
    PAPER,
    TOLD,
    WORSE,
    Spec,
    arm_keys,
    as_is,
    count_of_seeds,
    only,
    styles,
)

_NEAR = 0.1
_ZOOM = (
    Choice("all generations", "_all", True),
    Choice(f"those within {100 * _NEAR:g} points of the reference", "_near", True),
)
_VERDICTS = {"better": (BETTER, "triangle-up", BETTER), "worse": (WORSE, "triangle-down", WORSE)}


def differences(comparison: Comparison) -> Chart | None:
    """The difference of each arm to the reference, with its interval, and that of every single seed."""
    if len(comparison.results.study.lineages) == 1:
        return None
    rows = [row for standing in comparison.standings for row in _difference_rows(comparison, standing)]
    if not rows:
        return None
    y: Spec = {"field": "_label", "type": "nominal", "sort": None, "title": None}
    y |= {"axis": {"ticks": False, "domain": False, "labelPadding": 8, "grid": False}}
    axis = {"labelExpr": "format(100 * datum.value, '+.1f')", "tickCount": 6}
    x: Spec = {"field": "difference", "type": "quantitative", "axis": axis, "scale": {"padding": 12}}
    x |= {"title": "difference in test top-1, points"}
    interval = {"y": y, "x": x | {"field": "low"}, "x2": {"field": "high"}, "stroke": as_is("_colour")}
    single = {"y": y, "x": x, "tooltip": TOLD}
    mean = single | {"stroke": as_is("_colour"), "fill": as_is("_fill"), "shape": as_is("_shape")}
    dot = {"type": "point", "size": 22, "fill": MUTED, "stroke": None, "opacity": 0.8}
    spec = CANVAS | {
        "height": 30 * len({row["_label"] for row in rows}),
        "layer": [
            {"mark": DASHED, "encoding": {"x": {"datum": 0}}},
            only("datum.part == 'seed'", dot, single),
            only("isValid(datum.low)", {"type": "rule", "strokeWidth": 2.5}, interval),
            only("datum.part == 'mean'", {"type": "point", "size": 110, "opacity": 1, "strokeWidth": 2}, mean),
        ],
    }
    return Chart(
        name="differences",
        title=f"Difference to {comparison.reference}",
        words=f"Mean over the seeds that both finished, with its {100 * comparison.confidence:g} % t interval; "
        "small dots are single seeds. ▲ better, ▼ worse (corrected p below 0.05), ○ no difference shown. Dashed: the "
        "reference.",
        spec=spec,
        rows=tuple(rows),
        wide=True,
    )


def over_generations(comparison: Comparison, measure: str, title: str, axis: str, form: str) -> Chart | None:
    """One measure of every generation on the test set, single and as ensembles, the reference dashed.

    ``form`` is the format of its numbers, one that Python and d3 both know.
    """
    lines = list(_lines(comparison.results))
    if not lines:
        return None
    looks, step = styles(comparison), min(0.07, 0.5 / len(lines))
    reference = [row for row in comparison.results.rows if row.lineage == comparison.reference][-1]
    level = summary(of(reference.test, measure)).mean if reference.test else None
    rows: list[dict[str, Value]] = []
    for number, (arm, kind, members) in enumerate(lines):
        look, single = looks[arm], kind == "single"
        for row, measures in members:
            found = summary(of(measures, measure), comparison.confidence)
            between = "" if found.low is None else f" ({found.low:{form}} to {found.high:{form}})"
            who = f"{arm}, {row.generation}{'' if single else ' and all before it'}"
            rows.append(
                {
                    "arm": arm,
                    "kind": kind,
                    "generation": row.generation,
                    "place": row.place,
                    "seeds": found.n,
                    "mean": found.mean,
                    "deviation": found.deviation,
                    "low": found.low,
                    "high": found.high,
                    "_low": _within(found.low, measure),
                    "_high": _within(found.high, measure),
                    "_x": row.place + (number - (len(lines) - 1) / 2) * step,
                    "_colour": look.colour,
                    "_shape": look.shape,
                    "_fill": look.colour if single else PAPER,
                    "_dash": look.dash if single else (2, 3),
                    "_all": True,
                    "_near": level is None or abs(found.mean - level) <= _NEAR,
                    "_chain": len(members) > 1,
                    "_reference": single and len(looks) > 1 and row is reference,
                    "_told": f"{who}\n{found.mean:{form}}{between} over {count_of_seeds(found.n)}",
                }
            )
    words = f"Mean over the seeds, with its {100 * comparison.confidence:g} % t interval."
    if len(comparison.results.study.seeds) == 1:
        words = "One seed: no interval."
    words += f" Dashed across: the last generation of {comparison.reference}." if len(looks) > 1 else ""
    if any(kind == "ensemble" for _, kind, _ in lines):
        words += " Hollow points on dotted lines: ensembles of generation 0 to this one."
    return Chart(
        name=f"{measure}-over-generations",
        title=title,
        words=words,
        spec=_over_generations(axis, form, from_zero=measure != "top1"),
        rows=tuple(rows),
        choices=_ZOOM if measure == "top1" and not all(row["_near"] for row in rows) else (),
        key=arm_keys(comparison),
        wide=measure == "top1",
    )


def _within(end: float | None, measure: str) -> float | None:
    """The end of an interval as it is drawn: a t interval may reach beyond what a measure can be."""
    return None if end is None else max(0.0, end if measure == "nll" else min(1.0, end))


def _over_generations(axis: str, form: str, from_zero: bool) -> Spec:
    x: Spec = {"field": "_x", "type": "quantitative", "title": "generation"}
    x |= {"axis": {"tickMinStep": 1, "format": "d", "grid": False}}
    x |= {"scale": {"zero": False, "nice": False, "padding": 18}}
    y: Spec = {"field": "mean", "type": "quantitative", "title": axis, "scale": {"zero": from_zero}}
    y |= {"axis": {"format": form}}
    band = {"y": y | {"field": "_low"}, "y2": {"field": "_high"}}
    area = band | {"x": x, "fill": as_is("_colour"), "detail": [{"field": "arm"}, {"field": "kind"}]}
    line = {"x": x, "y": y, "stroke": as_is("_colour"), "strokeDash": as_is("_dash"), "detail": area["detail"]}
    point = {"x": x, "y": y, "stroke": as_is("_colour"), "fill": as_is("_fill"), "shape": as_is("_shape")}
    bar = band | {"x": x, "stroke": as_is("_colour")}
    mark = {"type": "point", "size": 55, "opacity": 1, "strokeWidth": 1.5}
    layers = [
        only("datum._reference && isValid(datum.low)", {"type": "rect", "fill": INK, "opacity": 0.08}, band),
        only("datum._reference", DASHED, {"y": y}),
        only("datum._chain && isValid(datum.low)", {"type": "area", "opacity": 0.13}, area),
        only("datum._chain", {"type": "line", "strokeWidth": 2}, line),
        only("isValid(datum.low)", {"type": "rule", "strokeWidth": 1.5, "opacity": 0.6}, bar),
        {"mark": mark, "encoding": point | {"tooltip": TOLD}},
    ]
    return CANVAS | {"height": 300, "layer": layers}


def _difference_rows(comparison: Comparison, standing: ArmResult) -> Iterator[dict[str, Value]]:
    """The mean difference of an arm, then that of each seed."""
    found = standing.difference
    if found is None:
        return
    who = f"{standing.arm}, {standing.generation}"
    corrected = "" if standing.corrected is None else f", p (Holm) {probability(standing.corrected)}"
    interval = f" ({between})" if (between := _interval(found, "+.2f")) else ""
    mean = f"{100 * found.mean:+.2f} points{interval}{corrected}\nover {count_of_seeds(found.n)}: {standing.verdict}"
    colour, shape, fill = _VERDICTS.get(standing.verdict, (MUTED, "circle", PAPER))
    kind = "ensemble" if standing.ensemble else "single"
    label = f"{standing.arm} (ensemble)" if standing.ensemble else standing.arm
    looks: dict[str, Value] = {"_label": label, "_colour": colour, "_shape": shape, "_fill": fill}
    head: dict[str, Value] = {"arm": standing.arm, "kind": kind, "generation": standing.generation}
    yield {
        "part": "mean",
        **head,
        "seed": None,
        "seeds": found.n,
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "p_holm": standing.corrected,
        **looks,
        "_told": f"{who}\n{mean}",
    }
    for seed, value in _by_seed(comparison, standing):
        yield {
            "part": "seed",
            **head,
            "seed": seed,
            "seeds": 1,
            "difference": value,
            "low": None,
            "high": None,
            "p_holm": None,
            **looks,
            "_told": f"{who}\nseed {seed}: {100 * value:+.2f} points",
        }


def _by_seed(comparison: Comparison, standing: ArmResult) -> list[tuple[int, float]]:
    """The difference to the reference of each seed that both finished."""
    last = {row.lineage: row for row in comparison.results.rows}
    row, reference = last[standing.arm], last[comparison.reference]
    seeds, measures = (row.ensemble_seeds, row.ensemble) if standing.ensemble else (row.seeds, row.test)
    ours = dict(zip(seeds, of(measures, "top1"), strict=True))
    theirs = dict(zip(reference.seeds, of(reference.test, "top1"), strict=True))
    return [(seed, ours[seed] - theirs[seed]) for seed in standing.common]


def _lines(results: Results) -> Iterator[tuple[str, str, list[tuple[Row, list[Measures]]]]]:
    """The lines over generations: (arm, kind, its rows with their measures); ensembles of equal networks only."""
    for lineage in results.study.lineages:
        rows = [row for row in results.rows if row.lineage == lineage.name]
        if single := [(row, row.test) for row in rows if row.test]:
            yield lineage.name, "single", single
        together = [(row, row.ensemble) for row in rows if row.ensemble]
        if together and len({row.model for row in rows}) == 1:
            yield lineage.name, "ensemble", together
