"""Sections of a page that not every study has: printed figures, diagnostics, features on other datasets."""

from __future__ import annotations

from collections.abc import Mapping

from tutelage.analysis import Comparison
from tutelage.analysis.diagnostics.catalog import diagnostics
from tutelage.analysis.sheets import Sheet
from tutelage.report.page.blocks import Chart, Choice, Section, Table, Value
from tutelage.report.page.style import CANVAS, DASHED, Spec, arm_keys, as_is, only, styles
from tutelage.report.published import HEADINGS, published_cells, published_notes
from tutelage.report.transfer import transfer_sheets


def published(comparison: Comparison) -> Section:
    """What the paper printed beside what was measured; nothing for a study that is no experiment."""
    rows = published_cells(comparison.results)
    table = Table(
        name="published",
        title="Published beside measured",
        columns=HEADINGS,
        rows=tuple(rows),
        words=tuple(published_notes(comparison.results)),
    )
    return Section(title="Published beside measured", blocks=(table,) if rows else ())


def features(comparison: Comparison) -> Section:
    """What `tutelage transfer` measured of this study's models, if it did."""
    sheets = transfer_sheets(comparison.results)
    return Section(title="Features on other data", blocks=tuple(_table(sheet) for sheet in sheets if sheet.rows))


def closer(comparison: Comparison) -> Section:
    """The diagnostics of `tutelage diagnose`, from what is stored."""
    sheets = {sheet.name: sheet for sheet in diagnostics(comparison.results)}
    chart = _reliability(comparison, sheets["reliability"])
    words = "Tables open on request. What needs the training images is there once `tutelage diagnose` was run."
    tables = tuple(_table(sheet) for sheet in sheets.values() if sheet.rows)
    return Section(title="A closer look", words=(words,), blocks=((chart, *tables) if chart else tables))


def _table(sheet: Sheet) -> Table:
    return Table(
        name=sheet.name,
        title=sheet.title,
        columns=sheet.headings,
        rows=sheet.rows,
        words=sheet.notes,
        folded=True,
    )


def _reliability(comparison: Comparison, sheet: Sheet) -> Chart | None:
    """Accuracy over confidence for the last generation of each arm, as it is and scaled by temperature."""
    looks = styles(comparison)
    last = {row.lineage: row.place for row in comparison.results.rows}
    rows = [_bin(record, looks[str(record["arm"])].colour) for record in sheet.series if _is_last(record, last)]
    if not rows:
        return None
    ends = {"domain": [0, 1], "nice": False}
    x: Spec = {"field": "confidence", "type": "quantitative", "title": "mean confidence of the bin", "scale": ends}
    y: Spec = {"field": "accuracy", "type": "quantitative", "title": "share that is right", "scale": ends}
    line = {"x": x, "y": y, "stroke": as_is("_colour")}
    diagonal = {
        "data": {"values": [{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}]},
        "mark": {**DASHED, "type": "line"},
        "encoding": {"x": x, "y": y},
    }
    told = [
        {"field": "arm", "type": "nominal"},
        {"field": "images", "type": "quantitative"},
        {"field": "confidence", "type": "quantitative", "format": ".3f"},
        {"field": "accuracy", "type": "quantitative", "format": ".3f"},
    ]
    layers = [
        diagonal,
        only("true", {"type": "line", "strokeWidth": 2}, line | {"detail": {"field": "arm"}}),
        only("true", {"type": "point", "size": 30, "opacity": 1}, line | {"fill": as_is("_colour"), "tooltip": told}),
    ]
    both = len({row["scaled"] for row in rows}) > 1
    return Chart(
        name="reliability",
        title="Reliability of the last generations on the test images",
        words="On the dashed line a network is right as often as it says; below it, it is too sure. All seeds "
        "together; bins of few images say little. How the temperature is fitted stands below Calibration.",
        spec=CANVAS | {"height": 300, "layer": layers},
        rows=tuple(rows),
        choices=(Choice("as it is", "scaled", False), Choice("temperature-scaled", "scaled", True)) if both else (),
        key=arm_keys(comparison),
    )


def _is_last(record: Mapping[str, Value], last: Mapping[str, int]) -> bool:
    return record["place"] == last[str(record["arm"])]


def _bin(record: Mapping[str, Value], colour: str) -> dict[str, Value]:
    return {**record, "kind": "single", "_colour": colour}
