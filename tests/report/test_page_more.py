"""The sections that not every page has: published numbers, features on other data, diagnostics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.report import made
from tutelage.analysis import Comparison, Results, compare, load_results
from tutelage.analysis.diagnostics.catalog import Diagnostics, diagnose
from tutelage.analysis.diagnostics.records import Diagnosis
from tutelage.experiments import find_experiment
from tutelage.experiments.scale import reduced
from tutelage.report.page import render
from tutelage.report.page.blocks import Chart, Section
from tutelage.report.page.build import page, sections_of
from tutelage.report.page.sections import diagnostics as section
from tutelage.report.page.sections.diagnostics import diagnostics
from tutelage.report.page.sections.published import published
from tutelage.report.page.sections.second_choices import CELLS, second_choices
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


def names(count: int) -> tuple[str, ...]:
    return tuple(f"class {number}" for number in range(count))


def test_second_choices_are_a_figure_where_they_were_measured(
    compared: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert second_choices([]) == []
    assert second_choices([made.second_choices(names(3), 0, {})]) == []
    assert [block.name for block in diagnostics(compared).blocks if isinstance(block, Chart)] == ["reliability"]
    record = made.second_choices(names(3), 0, {(0, 1): 6, (0, 2): 2, (2, 2): 4}, arm="plain")

    def measured(results: Results) -> Diagnostics:
        return replace(diagnose(results), second=Diagnosis(records=(record,)))

    monkeypatch.setattr(section, "diagnose", measured)
    _, chart = (block for block in section.diagnostics(compared).blocks if isinstance(block, Chart))
    assert chart.title == "Second choices on the training images"
    assert chart.choices == ()
    shown = [(row["true"], row["second"], row["images"], row["share"]) for row in chart.rows]
    assert shown == [
        ("class 0", "class 1", 6, 0.75),
        ("class 2", "class 2", 4, 1.0),
        ("class 0", "class 2", 2, 0.25),
    ]
    assert chart.spec["encoding"]["x"]["scale"]["domain"] == list(names(3))  # also those that no image has
    assert "most frequent cells" not in chart.caption


def test_every_generation_and_every_set_of_classes_has_its_matrix() -> None:
    pairs = {(0, 1): 3, (1, 0): 1}
    arms = [("a", 0), ("a", 1), ("b", 0)]
    several = second_choices([made.second_choices(names(2), place, pairs, arm) for arm, place in arms])
    (chart,) = several
    assert [choice.label for choice in chart.choices] == ["a, generation 0", "a, generation 1", "b, generation 0"]
    assert [row["_model"] for row in chart.rows] == [0, 0, 1, 1, 2, 2]
    other = made.second_choices(("cat", "dog", "fox"), 0, pairs, "c")
    assert [each.name for each in second_choices([made.second_choices(names(2), 0, pairs), other])] == [
        "second-choices-1",
        "second-choices-2",
    ]


@pytest.mark.parametrize(("classes", "models"), [(100, 1), (100, 60), (300, 6)])
def test_many_classes_stay_small(
    compared: Comparison, classes: int, models: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every class has ten second choices, of which some are frequent: these are drawn, and the caption says so."""
    images = {(c, (7 * c + d) % classes): (100 if d < 2 else 1) for c in range(classes) for d in range(10)}
    record = made.second_choices(names(classes), 0, images)
    (chart,) = second_choices([replace(record, place=place) for place in range(models)])
    assert len(chart.rows) == min(models * len(images), CELLS)
    whole = models * len(images) <= CELLS
    assert ("most frequent cells" in chart.caption) is not whole
    share = 100 * sum(sorted(images.values())[-(CELLS // models) :]) / sum(images.values())
    assert whole or f"{share:.0f} % of the images at least" in chart.caption
    assert chart.spec["height"] <= 440
    monkeypatch.setattr(render, "vega", lambda: "")
    with_chart, without = (
        page({"run": compared}, [lambda _, blocks=blocks: Section(title="Own", blocks=blocks)])
        for blocks in ((chart,), (replace(chart, rows=chart.rows[:1]),))
    )
    assert len(with_chart) - len(without) < 250_000
