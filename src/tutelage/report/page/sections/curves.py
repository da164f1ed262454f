"""The charts of training: what every epoch measured, and the sorted scores that training ends with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tutelage.analysis import Comparison
from tutelage.analysis.curves import Metric, TrainingCurve, score_distributions, training_curves
from tutelage.report.page.blocks import Chart, Choice, Value
from tutelage.report.page.style import (
    CANVAS,
    DECADES,
    Spec,
    arm_legend,
    arm_styles,
    generation_legend,
    layer,
    literal,
    shade,
    whole_numbers,
)

_LOG_FROM = 30.0
"""A loss that falls by more than this factor is drawn on a logarithmic scale."""
_CHARTS: tuple[tuple[Metric, str, str], ...] = (
    ("loss", "Training loss", "mean loss of the epoch"),
    ("accuracy", "Accuracy on the training views", "accuracy on augmented training images"),
    ("holdout/top1", "Accuracy on the holdout", "top-1 on the holdout"),
    ("test/top1", "Accuracy on the test set, which was watched", "test top-1"),
)
"""Each metric with the title of its chart and that of its axis."""


def curves(comparison: Comparison, points: int) -> list[Chart]:
    """A chart for each recorded metric of the epochs, with about ``points`` points."""
    by_metric: dict[Metric, list[TrainingCurve]] = {}
    for curve in training_curves(comparison.results, points=points):
        by_metric.setdefault(curve.metric, []).append(curve)
    return [
        _chart(comparison, by_metric[metric], metric, title, axis)
        for metric, title, axis in _CHARTS
        if metric in by_metric
    ]


def energy(comparison: Comparison) -> Chart | None:
    """The mean sorted scores on the training images, one line per generation."""
    distributions = score_distributions(comparison.results)
    if not distributions:
        return None
    deepest = max(generation.place for generation in comparison.results.generations)
    rows: list[dict[str, Value]] = [
        {
            "arm": each.arm,
            "generation": each.generation,
            "place": each.place,
            "rank": rank,
            "score": score,
            "seeds": each.seeds,
            "_colour": shade(each.place, deepest),
        }
        for each in distributions
        for rank, score in enumerate(each.scores, 1)
    ]
    arms = [each.arm for each in distributions]
    most_generations_first = sorted(dict.fromkeys(arms), key=arms.count, reverse=True)
    return Chart(
        name="energy",
        title="Energy: sorted scores on the training images",
        caption="Mean score of the best class, the second best and so on, over images and seeds, "
        "after the last epoch.",
        spec=_energy_spec(ranks=max(len(each.scores) for each in distributions)),
        rows=tuple(rows),
        choices=tuple(Choice(arm, "arm", arm) for arm in most_generations_first) if len(set(arms)) > 1 else (),
        legend=generation_legend(deepest),
        wide=True,
    )


def _chart(comparison: Comparison, curves: Sequence[TrainingCurve], metric: Metric, title: str, axis: str) -> Chart:
    styles = arm_styles(comparison)
    deepest = max(curve.place for curve in curves)
    several = len(styles) > 1
    rows: list[dict[str, Value]] = [
        {
            "arm": curve.arm,
            "generation": curve.generation,
            "place": curve.place,
            "epoch": point.epoch,
            "mean": _five_digits(point.mean),
            "low": _five_digits(point.low),
            "high": _five_digits(point.high),
            "seeds": point.seeds,
            "_last": curve.last,
            "_colour": styles[curve.arm].colour if several else shade(curve.place, deepest),
            "_dash": styles[curve.arm].dash if several else (),
        }
        for curve in curves
        for point in curve.points
    ]
    epochs = [point.epoch for curve in curves for point in curve.points]
    lowest = min(point.low for curve in curves for point in curve.points)
    highest = max(point.high for curve in curves for point in curve.points)
    caption = [f"{axis[0].upper()}{axis[1:]}: mean over the seeds; the band spans the lowest to the highest seed."]
    if metric == "loss" and several:
        caption.append("Objectives differ between arms, and the size of the loss with them.")
    if metric == "test/top1":
        caption.append("Nothing was chosen by it.")
    if any(curve.thinned for curve in curves):
        caption.append("Not every epoch is drawn; all are in the models' metrics.jsonl.")
    choices = [Choice("last generation of each arm", "_last", True)]
    choices += [Choice(f"generation {place}", "place", place) for place in range(deepest + 1)]
    return Chart(
        name=f"curves-{metric.replace('/', '-')}",
        title=title,
        caption=" ".join(caption),
        spec=_curves_spec(
            axis,
            (min(epochs), max(epochs)),
            logarithmic=metric == "loss" and lowest > 0 and highest > _LOG_FROM * lowest,
            number_format="~g" if metric == "loss" else "~%",
        ),
        rows=tuple(rows),
        choices=tuple(choices) if several and deepest else (),
        legend=arm_legend(comparison) if several else generation_legend(deepest),
    )


def _energy_spec(ranks: int) -> Spec:
    x: Spec = {
        "field": "rank",
        "type": "quantitative",
        "title": "rank of the class, by its score",
        "axis": whole_numbers(1, ranks),
        "scale": {"zero": False, "nice": False, "padding": 10},
    }
    y: Spec = {
        "field": "score",
        "type": "quantitative",
        "title": "mean score (log)",
        "scale": {"type": "log"},
        "axis": {"format": "~g", "values": DECADES},
    }
    tooltip = [
        {"field": "arm", "type": "nominal"},
        {"field": "generation", "type": "nominal"},
        {"field": "rank", "type": "quantitative"},
        {"field": "score", "type": "quantitative", "format": ".4~g"},
        {"field": "seeds", "type": "quantitative"},
    ]
    line = {"x": x, "y": y, "stroke": literal("_colour")}
    point = line | {"fill": literal("_colour"), "tooltip": tooltip}
    layers = [
        layer("datum.score > 0", {"type": "line", "strokeWidth": 2}, line | {"detail": {"field": "place"}}),
        layer("datum.score > 0", {"type": "point", "size": 30, "opacity": 1}, point),
    ]
    return CANVAS | {"height": 260, "layer": layers}


def _curves_spec(axis: str, epochs: tuple[int, int], *, logarithmic: bool, number_format: str) -> Spec:
    x: Spec = {
        "field": "epoch",
        "type": "quantitative",
        "axis": whole_numbers(*epochs),
        "scale": {"zero": False, "nice": False},
    }
    ticks: dict[str, Any] = {"values": DECADES} if logarithmic else {"tickCount": 6}
    y: Spec = {
        "field": "mean",
        "type": "quantitative",
        "title": f"{axis} (log)" if logarithmic else axis,
        "scale": {"type": "log"} if logarithmic else {"zero": False},
        "axis": {"format": number_format, **ticks},
    }
    band = {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}, "fill": literal("_colour")}
    line_of = {"detail": [{"field": "arm"}, {"field": "place"}]}
    line = {"x": x, "y": y, "stroke": literal("_colour"), "strokeDash": literal("_dash")}
    tooltip = [
        {"field": "arm", "type": "nominal"},
        {"field": "generation", "type": "nominal"},
        {"field": "epoch", "type": "quantitative"},
        {"field": "mean", "type": "quantitative", "format": ".4~g"},
        {"field": "low", "type": "quantitative", "format": ".4~g", "title": "lowest"},
        {"field": "high", "type": "quantitative", "format": ".4~g", "title": "highest"},
        {"field": "seeds", "type": "quantitative"},
    ]
    return CANVAS | {
        "height": 260,
        "layer": [
            layer("datum.seeds > 1", {"type": "area", "opacity": 0.15}, band | line_of),
            {"mark": {"type": "line", "strokeWidth": 1.75}, "encoding": line | line_of},
            {"mark": {"type": "point", "size": 40, "opacity": 0}, "encoding": {"x": x, "y": y, "tooltip": tooltip}},
        ],
    }


def _five_digits(value: float) -> float:
    """A value rounded to five significant digits, which is more than a curve shows.

    >>> _five_digits(0.123456789)
    0.12346
    """
    return float(f"{value:.5g}")
