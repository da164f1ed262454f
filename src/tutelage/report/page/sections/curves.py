"""The training curves of a study, from what every epoch measured, and the energy that they end with."""

from __future__ import annotations

from typing import Any, NamedTuple

from tutelage.analysis import Comparison, Results
from tutelage.report.page.blocks import Chart, Choice, Value
from tutelage.report.page.style import (
    CANVAS,
    DECADES,
    Spec,
    arm_keys,
    as_is,
    generation_keys,
    only,
    shade,
    styles,
)

_LOG_FROM = 30.0
"""A loss that falls by more than this factor is drawn on a logarithmic scale."""


class Measured(NamedTuple):
    """What the epochs of one generation of an arm measured, over the seeds: epoch -> values."""

    arm: str
    generation: str
    place: int
    last: bool
    epochs: dict[int, list[dict[str, float]]]


def curves(comparison: Comparison, most: int) -> list[Chart]:
    """Loss and accuracy of every epoch, about ``most`` points a chart; the test set only where it was watched."""
    measured = _measured(comparison.results)
    of_what = {
        "loss": ("Training loss", "mean loss of the epoch"),
        "accuracy": ("Accuracy on the training views", "accuracy on augmented training images"),
        "holdout/top1": ("Accuracy on the holdout", "top-1 on the holdout"),
        "test/top1": ("Accuracy on the test set, which was watched", "test top-1"),
    }
    made = [_curve(comparison, measured, name, title, axis, most) for name, (title, axis) in of_what.items()]
    return [chart for chart in made if chart is not None]


def energy(comparison: Comparison) -> Chart | None:
    """The mean sorted score distribution on the training images, one line a generation."""
    rows: list[dict[str, Value]] = []
    deepest = max(row.place for row in comparison.results.rows)
    count: dict[str, int] = {}
    for row in comparison.results.rows:
        found = [scores for measures in row.train if isinstance(scores := measures["energy"], list)]
        if found:
            count[row.lineage] = count.get(row.lineage, 0) + 1
        for rank, shares in enumerate(zip(*found, strict=True), 1):
            rows.append(
                {
                    "arm": row.lineage,
                    "generation": row.generation,
                    "place": row.place,
                    "rank": rank,
                    "score": sum(shares) / len(shares),
                    "seeds": len(shares),
                    "_colour": shade(row.place, deepest),
                }
            )
    if not rows:
        return None
    x: Spec = {"field": "rank", "type": "quantitative", "title": "rank of the class, by its score"}
    x |= {
        "axis": {"tickMinStep": 1, "format": "d", "grid": False},
        "scale": {"zero": False, "nice": False, "padding": 10},
    }
    y: Spec = {"field": "score", "type": "quantitative", "title": "mean score (log)", "scale": {"type": "log"}}
    y |= {"axis": {"format": "~g", "values": DECADES}}
    told = [
        {"field": "arm", "type": "nominal"},
        {"field": "generation", "type": "nominal"},
        {"field": "rank", "type": "quantitative"},
        {"field": "score", "type": "quantitative", "format": ".4~g"},
        {"field": "seeds", "type": "quantitative"},
    ]
    line = {"x": x, "y": y, "stroke": as_is("_colour")}
    point = line | {"fill": as_is("_colour"), "tooltip": told}
    layers = [
        only("datum.score > 0", {"type": "line", "strokeWidth": 2}, line | {"detail": {"field": "place"}}),
        only("datum.score > 0", {"type": "point", "size": 30, "opacity": 1}, point),
    ]
    most = sorted(count, key=lambda arm: -count[arm])
    return Chart(
        name="energy",
        title="Energy: sorted scores on the training images",
        words="Mean score of the best class, the second best and so on, over images and seeds, after the last epoch.",
        spec=CANVAS | {"height": 260, "layer": layers},
        rows=tuple(rows),
        choices=tuple(Choice(arm, "arm", arm) for arm in most) if len(most) > 1 else (),
        key=generation_keys(deepest),
        wide=True,
    )


def _measured(results: Results) -> list[Measured]:
    last = {row.lineage: row.place for row in results.rows}
    read: dict[str, list[dict[str, float]]] = {}
    found = []
    for row in results.rows:
        epochs: dict[int, list[dict[str, float]]] = {}
        for model in row.models:
            if not model.finished:
                continue
            if model.address not in read:
                read[model.address] = model.metrics()
            for line in read[model.address]:
                epochs.setdefault(int(line["epoch"]), []).append(line)
        found.append(Measured(row.lineage, row.generation, row.place, row.place == last[row.lineage], epochs))
    return found


def _curve(
    comparison: Comparison, measured: list[Measured], name: str, title: str, axis: str, most: int
) -> Chart | None:
    keys = styles(comparison)
    lines = [line for line in measured if any(name in found for group in line.epochs.values() for found in group)]
    if not lines:
        return None
    deepest = max(line.place for line in lines)
    several = len(keys) > 1
    rows: list[dict[str, Value]] = []
    whole = True
    lows, highs = [], []
    for line in lines:
        epochs = sorted(line.epochs)
        shown = _thinned(epochs, max(2, most // len(lines)))
        whole = whole and shown == epochs
        colour = keys[line.arm].colour if several else shade(line.place, deepest)
        dash = keys[line.arm].dash if several else ()
        for epoch in shown:
            values = [found[name] for found in line.epochs[epoch] if name in found]
            if not values:
                continue
            lows.append(min(values))
            highs.append(max(values))
            rows.append(
                {
                    "arm": line.arm,
                    "generation": line.generation,
                    "place": line.place,
                    "epoch": epoch,
                    "mean": _short(sum(values) / len(values)),
                    "low": _short(lows[-1]),
                    "high": _short(highs[-1]),
                    "seeds": len(values),
                    "_last": line.last,
                    "_colour": colour,
                    "_dash": dash,
                }
            )
    log = name == "loss" and min(lows) > 0 and max(highs) > _LOG_FROM * min(lows)
    words = [f"{axis[0].upper()}{axis[1:]}: mean over the seeds, the band from the least to the most."]
    if name == "loss" and several:
        words.append("Objectives differ between arms, and so do their losses' sizes.")
    if name == "test/top1":
        words.append("Nothing was chosen by it.")
    if not whole:
        words.append("Not every epoch is drawn; all are in the models' metrics.jsonl.")
    choices = [Choice("last generation of each arm", "_last", True)]
    choices += [Choice(f"generation {place}", "place", place) for place in range(deepest + 1)]
    return Chart(
        name=f"curves-{name.replace('/', '-')}",
        title=title,
        words=" ".join(words),
        spec=_spec(axis, log, "~g" if name == "loss" else ".0%"),
        rows=tuple(rows),
        choices=tuple(choices) if several and deepest else (),
        key=arm_keys(comparison) if several else generation_keys(deepest),
    )


def _spec(axis: str, log: bool, form: str) -> dict[str, Any]:
    x: Spec = {"field": "epoch", "type": "quantitative", "axis": {"tickMinStep": 1, "grid": False}}
    x |= {"scale": {"zero": False, "nice": False}}
    scale = {"type": "log"} if log else {"zero": False}
    y: Spec = {"field": "mean", "type": "quantitative", "title": f"{axis} (log)" if log else axis, "scale": scale}
    y |= {"axis": {"format": form} | ({"values": DECADES} if log else {"tickCount": 6})}
    band = {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}, "fill": as_is("_colour")}
    group = {"detail": [{"field": "arm"}, {"field": "place"}]}
    line = {"x": x, "y": y, "stroke": as_is("_colour"), "strokeDash": as_is("_dash")}
    told = [
        {"field": "arm", "type": "nominal"},
        {"field": "generation", "type": "nominal"},
        {"field": "epoch", "type": "quantitative"},
        {"field": "mean", "type": "quantitative", "format": ".4~g"},
        {"field": "low", "type": "quantitative", "format": ".4~g", "title": "least"},
        {"field": "high", "type": "quantitative", "format": ".4~g", "title": "most"},
        {"field": "seeds", "type": "quantitative"},
    ]
    return CANVAS | {
        "height": 260,
        "layer": [
            only("datum.seeds > 1", {"type": "area", "opacity": 0.15}, band | group),
            {"mark": {"type": "line", "strokeWidth": 1.75}, "encoding": line | group},
            {"mark": {"type": "point", "size": 40, "opacity": 0}, "encoding": {"x": x, "y": y, "tooltip": told}},
        ],
    }


def _thinned(epochs: list[int], most: int) -> list[int]:
    """At most ``most`` of the epochs, evenly spread, with the first and the last.

    >>> _thinned([1, 2, 3, 4, 5], 3), _thinned([1, 2], 5)
    ([1, 3, 5], [1, 2])
    """
    if len(epochs) <= most:
        return epochs
    return [epochs[round(number * (len(epochs) - 1) / (most - 1))] for number in range(most)]


def _short(value: float) -> float:
    """Five digits, which is more than a curve shows.

    >>> _short(0.123456789)
    0.12346
    """
    return float(f"{value:.5g}")
