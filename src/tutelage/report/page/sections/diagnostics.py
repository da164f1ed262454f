"""The section of the diagnostics: their tables, a reliability diagram, and the matrix of second choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tutelage.analysis import Comparison
from tutelage.analysis.diagnostics.calibration import ReliabilityRecord
from tutelage.analysis.diagnostics.catalog import diagnose
from tutelage.report.diagnostics import diagnostics_tables
from tutelage.report.page.blocks import Chart, Choice, Section, Value
from tutelage.report.page.sections.second_choices import second_choices
from tutelage.report.page.style import CANVAS, DASHED_RULE, Spec, arm_legend, arm_styles, layer, literal

_TEXT = "Tables open on request. What needs the training images is there once `tutelage diagnose` was run."


def diagnostics(comparison: Comparison) -> Section:
    """The diagnostics of ``tutelage diagnose``, from what is stored."""
    measured = diagnose(comparison.results)
    reliability = _reliability(comparison, measured.reliability.records)
    charts = [*([reliability] if reliability is not None else []), *second_choices(measured.second.records)]
    tables = [replace(table, folded=True) for table in diagnostics_tables(measured) if table.rows]
    return Section(title="A closer look", text=(_TEXT,), blocks=(*charts, *tables))


def _reliability(comparison: Comparison, bins: Sequence[ReliabilityRecord]) -> Chart | None:
    """Accuracy over confidence of the last generation of each arm, as it is and after temperature scaling."""
    styles = arm_styles(comparison)
    last = {generation.arm: generation.place for generation in comparison.results.generations}
    rows: list[dict[str, Value]] = [
        {
            "arm": each.arm,
            "generation": each.generation,
            "place": each.place,
            "scaled": each.scaled,
            "from": each.low,
            "to": each.high,
            "images": each.images,
            "confidence": each.confidence,
            "accuracy": each.accuracy,
            "kind": "single",
            "_colour": styles[each.arm].colour,
        }
        for each in bins
        if each.place == last[each.arm]
    ]
    if not rows:
        return None
    scaled_too = len({row["scaled"] for row in rows}) > 1
    return Chart(
        name="reliability",
        title="Reliability of the last generations on the test images",
        caption="On the dashed line a network is right as often as it is confident; below it, it is overconfident. "
        "All seeds together; bins of few images say little. How the temperature is fitted is described below "
        "Calibration.",
        spec=_reliability_spec(),
        rows=tuple(rows),
        choices=(Choice("as it is", "scaled", False), Choice("temperature-scaled", "scaled", True))
        if scaled_too
        else (),
        legend=arm_legend(comparison),
    )


def _reliability_spec() -> Spec:
    unit = {"domain": [0, 1], "nice": False}
    x: Spec = {"field": "confidence", "type": "quantitative", "title": "mean confidence of the bin", "scale": unit}
    y: Spec = {"field": "accuracy", "type": "quantitative", "title": "accuracy of the bin", "scale": unit}
    line = {"x": x, "y": y, "stroke": literal("_colour")}
    diagonal = {
        "data": {"values": [{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}]},
        "mark": {**DASHED_RULE, "type": "line"},
        "encoding": {"x": x, "y": y},
    }
    tooltip = [
        {"field": "arm", "type": "nominal"},
        {"field": "images", "type": "quantitative"},
        {"field": "confidence", "type": "quantitative", "format": ".3f"},
        {"field": "accuracy", "type": "quantitative", "format": ".3f"},
    ]
    layers = [
        diagonal,
        layer("true", {"type": "line", "strokeWidth": 2}, line | {"detail": {"field": "arm"}}),
        layer(
            "true",
            {"type": "point", "size": 30, "opacity": 1},
            line | {"fill": literal("_colour"), "tooltip": tooltip},
        ),
    ]
    return CANVAS | {"height": 300, "layer": layers}
