"""The chart of second choices: which class comes second for each class, as a matrix."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.analysis.diagnostics.training_set import SecondChoicesRecord
from tutelage.report.page.blocks import Chart, Choice, Value
from tutelage.report.page.style import CANVAS, TOOLTIP, Spec

CELLS = 12_000
"""About how many cells all matrices have together; one of ten classes has 100 at most, one of 100 classes 10,000."""
_MOST_NAMED = 40
"""With more classes than this, their names are in the tooltips and the data alone."""


def second_choices(records: Sequence[SecondChoicesRecord]) -> list[Chart]:
    """A matrix for each measured generation, in one chart for each set of classes."""
    by_classes: dict[tuple[str, ...], list[SecondChoicesRecord]] = {}
    for record in records:
        if record.pairs:
            by_classes.setdefault(record.classes, []).append(record)
    return [
        _chart(group, f"second-choices-{number}" if len(by_classes) > 1 else "second-choices", CELLS // len(records))
        for number, group in enumerate(by_classes.values(), 1)
    ]


def _chart(records: Sequence[SecondChoicesRecord], name: str, most: int) -> Chart:
    """The matrices of generations of the same classes; each has its ``most`` frequent cells."""
    places = {each: place for place, each in enumerate(records[0].classes)}
    drawn = [sorted(record.pairs, key=lambda pair: -pair.images)[:most] for record in records]
    rows: list[dict[str, Value]] = [
        {
            "arm": record.arm,
            "generation": record.generation,
            "place": record.place,
            "true": pair.true,
            "second": pair.second,
            "images": pair.images,
            "share": float(f"{pair.share:.5g}"),
            "kind": "single",
            "_model": number,
            "_true": places[pair.true],
            "_second": places[pair.second],
            "_tooltip": f"{pair.true}, then {pair.second}\n{100 * pair.share:.2f} % of its images ({pair.images:,})",
        }
        for number, (record, pairs) in enumerate(zip(records, drawn, strict=True))
        for pair in pairs
    ]
    caption = (
        "Rows: the true class; columns: the class with the second highest score. The stronger the colour, the larger "
        "the share of the true class's images, all seeds together. On the diagonal the true class comes second."
    )
    least = min(
        sum(pair.images for pair in pairs) / sum(pair.images for pair in record.pairs)
        for record, pairs in zip(records, drawn, strict=True)
    )
    if least < 1.0:
        caption += f" The most frequent cells are drawn, {100 * least:.0f} % of the images at least."
    several = len({record.arm for record in records}) > 1
    labels = [f"{record.arm}, {record.generation}" if several else record.generation for record in records]
    return Chart(
        name=name,
        title="Second choices on the training images",
        caption=caption,
        spec=_spec(records[0].classes),
        rows=tuple(rows),
        choices=tuple(Choice(label, "_model", number) for number, label in enumerate(labels)) if labels[1:] else (),
    )


def _spec(classes: Sequence[str]) -> Spec:
    """Rectangles whose opacity is the share: their colour is a variable of the page, of which there are no shades."""
    named = len(classes) <= _MOST_NAMED
    axis: Spec = {"grid": False, "domain": True, "labels": named, "ticks": False, "labelPadding": 4}
    scale: Spec = {"domain": list(classes), "padding": 0}
    channel: Spec = {"type": "nominal", "scale": scale}
    x = channel | {"field": "second", "title": "second choice", "axis": axis | {"orient": "bottom", "labelLimit": 90}}
    y = channel | {"field": "true", "title": "true class", "axis": axis}
    opacity: Spec = {
        "field": "share",
        "type": "quantitative",
        "scale": {"type": "sqrt", "domain": [0, 1], "range": [0, 1]},
        "legend": None,
    }
    return CANVAS | {
        "height": max(160, min(24 * len(classes), 440)),
        "mark": {"type": "rect", "fill": "var(--s5)", "stroke": None},
        "encoding": {"x": x, "y": y, "fillOpacity": opacity, "tooltip": TOOLTIP},
    }
