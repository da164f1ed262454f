"""The sections that not every page has: published numbers, features on other data, diagnostics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.report import made
from tutelage.analysis import Comparison, compare, load_results
from tutelage.experiments import find_experiment
from tutelage.experiments.scale import reduced
from tutelage.report.page.blocks import Chart
from tutelage.report.page.build import sections_of
from tutelage.report.page.sections.diagnostics import diagnostics
from tutelage.report.page.sections.published import published
from tutelage.report.page.sections.transfer import transfer
from tutelage.report.table import Table
from tutelage.study import Study

TABLE_1 = "tolerant/table-1/densenet-100"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    study = Study(lineages=(made.arm("plain"), made.arm("sure", lr=0.2)), seeds=(0, 1))
    runs = tmp_path_factory.mktemp("more")
    made.write(study, runs, lambda arm, place, seed: 0.8 if arm == "plain" else 0.6)
    return made.comparison(study, runs)


def test_a_study_that_is_no_experiment_has_no_published_numbers(compared: Comparison) -> None:
    assert published(compared).blocks == ()
    assert transfer(compared).blocks == ()


def test_an_experiment_has_its_table(tmp_path: Path) -> None:
    study = replace(reduced(find_experiment(TABLE_1), scale=0.001, until=1), seeds=(0,))
    name = made.write(study, tmp_path, lambda arm, place, seed: 0.75)
    results = replace(load_results(name, tmp_path), experiment=TABLE_1)
    (table,) = published(compare(results)).blocks
    assert isinstance(table, Table)
    names = [column.name for column in table.columns]
    rows = {(row[0].text, row[1].text): dict(zip(names, row, strict=True)) for row in table.rows}
    baseline = rows["baseline", "baseline"]
    texts = [baseline[name].text for name in ("published", "measured", "difference")]
    assert texts == ["22.88", "25.00", "+2.12"]
    assert baseline["protocol"].text.startswith("differs (")
    assert any("epochs instead of 300" in note for note in table.notes)


def test_diagnostics_are_there_on_request(compared: Comparison) -> None:
    assert diagnostics not in sections_of()
    assert diagnostics in sections_of(with_diagnostics=True)
    section = diagnostics(compared)
    chart, *tables = section.blocks
    assert isinstance(chart, Chart)
    assert {row["arm"] for row in chart.rows} == {"plain", "sure"}
    as_it_is = [row for row in chart.rows if row["scaled"] is False]
    images = {
        arm: sum(float(str(row["images"])) for row in as_it_is if row["arm"] == arm) for arm in ("plain", "sure")
    }
    assert images == {"plain": 2 * made.IMAGES, "sure": 2 * made.IMAGES}
    right = {
        arm: sum(float(str(row["images"])) * float(str(row["accuracy"])) for row in as_it_is if row["arm"] == arm)
        for arm in images
    }
    assert {arm: round(right[arm] / images[arm], 6) for arm in images} == {"plain": 0.8, "sure": 0.6}
    assert [choice.value for choice in chart.choices] == [False, True]
    titles = [table.title for table in tables if isinstance(table, Table) and table.folded]
    assert len(titles) == len(tables)
    assert any(title.startswith("Calibration on the test images") for title in titles)
