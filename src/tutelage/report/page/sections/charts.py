"""The charts of a study's results: differences to the reference, and measures over the generations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tutelage.analysis import ArmResult, Comparison
from tutelage.analysis.summaries import GenerationSummary, MeasureName, generation_summaries
from tutelage.report.comparison import label, verdict
from tutelage.report.format import interval, p_value
from tutelage.report.page.blocks import Chart, Choice, Value
from tutelage.report.page.style import (
    BETTER,
    CANVAS,
    DASHED_RULE,
    INK,
    MUTED,
    PAPER,
    TOOLTIP,
    WORSE,
    Spec,
    arm_legend,
    arm_styles,
    layer,
    literal,
    whole_numbers,
)

_NEAR = 0.1
_ZOOM = (
    Choice("all generations", "_all", True),
    Choice(f"those within {100 * _NEAR:g} points of the reference", "_near", True),
)
_VERDICTS = {"better": (BETTER, "triangle-up", BETTER), "worse": (WORSE, "triangle-down", WORSE)}
"""The stroke, the shape and the fill of a mean; of any other verdict it is hollow."""


def differences(comparison: Comparison) -> Chart | None:
    """The difference of each arm to the reference with its interval, and that of every seed."""
    if len(comparison.results.study.lineages) == 1:
        return None
    rows = [row for arm in comparison.arms for row in _difference_rows(comparison, arm)]
    if not rows:
        return None
    return Chart(
        name="differences",
        title=f"Difference to {comparison.reference}",
        caption=f"Mean over the seeds that both finished, with its {100 * comparison.confidence:g} % t interval; "
        "small dots are single seeds. ▲ better, ▼ worse (corrected p below 0.05), ○ no difference shown. Dashed: the "
        "reference.",
        spec=_difference_spec(arms=len({row["_label"] for row in rows})),
        rows=tuple(rows),
        wide=True,
    )


def over_generations(
    comparison: Comparison, measure: MeasureName, title: str, axis: str, number_format: str
) -> Chart | None:
    """One measure of every generation on the test set, single and as ensembles; the reference is dashed.

    ``number_format`` is one that Python and d3 both know.
    """
    summaries = generation_summaries(comparison.results, measure, comparison.confidence)
    if not summaries:
        return None
    styles = arm_styles(comparison)
    sizes = Counter((each.arm, each.ensemble) for each in summaries)
    lines = {line: number for number, line in enumerate(sizes)}
    last = len(comparison.results.arms()[comparison.reference]) - 1
    reference = next(
        (s for s in summaries if (s.arm, s.ensemble, s.place) == (comparison.reference, False, last)), None
    )
    # Lines stand beside one another, so that intervals at the same generation can be read.
    step = min(0.07, 0.5 / len(lines))
    rows: list[dict[str, Value]] = []
    for each in summaries:
        style, line = styles[each.arm], (each.arm, each.ensemble)
        mean, low, high = each.summary.mean, each.summary.low, each.summary.high
        rows.append(
            {
                "arm": each.arm,
                "kind": "ensemble" if each.ensemble else "single",
                "generation": each.generation,
                "place": each.place,
                "seeds": each.summary.n,
                "mean": mean,
                "deviation": each.summary.deviation,
                "low": low,
                "high": high,
                "_x": each.place + (lines[line] - (len(lines) - 1) / 2) * step,
                "_colour": style.colour,
                "_shape": style.shape,
                "_fill": PAPER if each.ensemble else style.colour,
                "_dash": (2, 3) if each.ensemble else style.dash,
                "_all": True,
                "_near": reference is None or abs(mean - reference.summary.mean) <= _NEAR,
                "_chain": sizes[line] > 1,
                "_reference": len(styles) > 1 and each is reference,
                "_tooltip": _summary_tooltip(each, number_format),
            }
        )
    caption = f"Mean over the seeds, with its {100 * comparison.confidence:g} % t interval."
    if len(comparison.results.study.seeds) == 1:
        caption = "One seed: no interval."
    caption += f" Dashed line: the last generation of {comparison.reference}." if len(styles) > 1 else ""
    if any(each.ensemble for each in summaries):
        caption += " Hollow points on dotted lines: ensembles of generations 0 to this one."
    return Chart(
        name=f"{measure}-over-generations",
        title=title,
        caption=caption,
        spec=_generations_spec(
            axis, number_format, deepest=max(each.place for each in summaries), from_zero=measure != "top1"
        ),
        rows=tuple(rows),
        choices=_ZOOM if measure == "top1" and not all(row["_near"] for row in rows) else (),
        legend=arm_legend(comparison),
        wide=measure == "top1",
    )


def _difference_rows(comparison: Comparison, arm: ArmResult) -> Iterator[dict[str, Value]]:
    """The mean difference of an arm, then that of each seed."""
    difference = arm.difference
    if difference is None:
        return
    name = f"{arm.arm}, {label(arm)}"
    bounds = interval(difference.low, difference.high, sign=True)
    p = "" if arm.corrected is None else f", p (Holm) {p_value(arm.corrected).text}"
    summary = f"{100 * difference.mean:+.2f} points{f' ({bounds})' if bounds else ''}{p}"
    colour, shape, fill = _VERDICTS.get(arm.verdict, (MUTED, "circle", PAPER))
    identity: dict[str, Value] = {
        "arm": arm.arm,
        "kind": "ensemble" if arm.ensemble else "single",
        "generation": label(arm),
    }
    drawing: dict[str, Value] = {
        "_label": f"{arm.arm} (ensemble)" if arm.ensemble else arm.arm,
        "_colour": colour,
        "_shape": shape,
        "_fill": fill,
    }
    yield {
        "part": "mean",
        **identity,
        "seed": None,
        "seeds": difference.n,
        "difference": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "p_holm": arm.corrected,
        **drawing,
        "_tooltip": f"{name}\n{summary}\nover {_seed_count(difference.n)}: {verdict(comparison, arm)}",
    }
    for seed, value in arm.differences.items():
        yield {
            "part": "seed",
            **identity,
            "seed": seed,
            "seeds": 1,
            "difference": value,
            "low": None,
            "high": None,
            "p_holm": None,
            **drawing,
            "_tooltip": f"{name}\nseed {seed}: {100 * value:+.2f} points",
        }


def _difference_spec(arms: int) -> Spec:
    y: Spec = {
        "field": "_label",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"ticks": False, "domain": False, "labelPadding": 8, "grid": False},
    }
    x: Spec = {
        "field": "difference",
        "type": "quantitative",
        "axis": {"labelExpr": "format(100 * datum.value, '+.3~f')", "tickCount": 6},
        "scale": {"padding": 12},
        "title": "difference in test top-1, points",
    }
    bounds = {"y": y, "x": x | {"field": "low"}, "x2": {"field": "high"}, "stroke": literal("_colour")}
    seed = {"y": y, "x": x, "tooltip": TOOLTIP}
    mean = seed | {"stroke": literal("_colour"), "fill": literal("_fill"), "shape": literal("_shape")}
    dot = {"type": "point", "size": 22, "fill": MUTED, "stroke": None, "opacity": 0.8}
    return CANVAS | {
        "height": 30 * arms,
        "layer": [
            {"mark": DASHED_RULE, "encoding": {"x": {"datum": 0}}},
            layer("datum.part == 'seed'", dot, seed),
            layer("isValid(datum.low)", {"type": "rule", "strokeWidth": 2.5}, bounds),
            layer("datum.part == 'mean'", {"type": "point", "size": 110, "opacity": 1, "strokeWidth": 2}, mean),
        ],
    }


def _generations_spec(axis: str, number_format: str, deepest: int, from_zero: bool) -> Spec:
    x: Spec = {
        "field": "_x",
        "type": "quantitative",
        "title": "generation",
        "axis": whole_numbers(0, deepest),
        "scale": {"zero": False, "nice": False, "padding": 18},
    }
    y: Spec = {
        "field": "mean",
        "type": "quantitative",
        "title": axis,
        "scale": {"zero": from_zero},
        "axis": {"format": number_format},
    }
    band = {"y": y | {"field": "low"}, "y2": {"field": "high"}}
    line_of = [{"field": "arm"}, {"field": "kind"}]
    area = band | {"x": x, "fill": literal("_colour"), "detail": line_of}
    line = {"x": x, "y": y, "stroke": literal("_colour"), "strokeDash": literal("_dash"), "detail": line_of}
    point = {"x": x, "y": y, "stroke": literal("_colour"), "fill": literal("_fill"), "shape": literal("_shape")}
    bar = band | {"x": x, "stroke": literal("_colour")}
    mark = {"type": "point", "size": 55, "opacity": 1, "strokeWidth": 1.5}
    layers = [
        layer("datum._reference && isValid(datum.low)", {"type": "rect", "fill": INK, "opacity": 0.08}, band),
        layer("datum._reference", DASHED_RULE, {"y": y}),
        layer("datum._chain && isValid(datum.low)", {"type": "area", "opacity": 0.13}, area),
        layer("datum._chain", {"type": "line", "strokeWidth": 2}, line),
        layer("isValid(datum.low)", {"type": "rule", "strokeWidth": 1.5, "opacity": 0.6}, bar),
        {"mark": mark, "encoding": point | {"tooltip": TOOLTIP}},
    ]
    return CANVAS | {"height": 300, "layer": layers}


def _summary_tooltip(each: GenerationSummary, number_format: str) -> str:
    model = f"{each.arm}, {each.generation}{' and all before it' if each.ensemble else ''}"
    low, high = each.summary.low, each.summary.high
    bounds = "" if low is None or high is None else f" ({low:{number_format}} to {high:{number_format}})"
    return f"{model}\n{each.summary.mean:{number_format}}{bounds} over {_seed_count(each.summary.n)}"


def _seed_count(count: int) -> str:
    """A number of seeds in words.

    >>> _seed_count(1), _seed_count(3)
    ('1 seed', '3 seeds')
    """
    return f"{count} seeds" if count > 1 else "1 seed"
