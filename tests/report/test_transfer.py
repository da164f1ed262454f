"""Rows and tables of transfer from numbers that a test chooses: pairing, correction, floors, what is missing."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.report.made import arm, write
from tutelage.analysis import Results, load_results
from tutelage.analysis.statistics import paired
from tutelage.analysis.transfer.probes import Transfer
from tutelage.artifacts.model import Model
from tutelage.evaluation.probe import PROTOCOLS
from tutelage.recipes.born_again import born_again
from tutelage.report.table import sheet_table, sheets_csv, sheets_markdown
from tutelage.report.transfer import find_reference, transfer_rows, transfer_sheets
from tutelage.study import Study

ARMS = (arm("plain"), arm("chain", born_again, generations=1), arm("=tall|", model="resnet14"))
SEEDS = (0, 1, 2)
Give = Callable[[list[Transfer], list[Transfer]], None]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    study = Study(lineages=ARMS, seeds=SEEDS)
    return load_results(write(study, tmp_path, lambda *_: 0.5, without=[("=tall|", 2)]), tmp_path)


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Give:
    def given(of_models: list[Transfer], of_pixels: list[Transfer]) -> None:
        def kept(model: Model) -> tuple[Transfer, ...]:
            return tuple(one for one in of_models if one.model == model.address)

        monkeypatch.setattr("tutelage.analysis.transfer.comparison.kept", kept)
        monkeypatch.setattr("tutelage.analysis.transfer.comparison.kept_of_pixels", lambda runs: tuple(of_pixels))

    return given


def one(model: str, accuracy: float, probe: str = "linear") -> Transfer:
    return Transfer(
        model=model,
        weights="w" * 64,
        data="letters.npz",
        fingerprint="e" * 64,
        train_size=1000,
        test_size=200,
        num_classes=26,
        probe="linear" if probe == "linear" else "knn",
        protocol=PROTOCOLS[probe],
        conversion="",
        layers=(),
        layer="classifier:input",
        shape=(1, 8, 8),
        width=64,
        accuracy=accuracy,
        l2=0.01 if probe == "linear" else None,
    )


def made(results: Results, probe: str = "linear") -> list[Transfer]:
    """Plain: 0.50 0.51 0.52; chain: its first generation is plain's, its second 0.55 0.54 0.56; tall: 0.40 0.45."""
    by_row = {("plain", 0): (0.50, 0.51, 0.52), ("chain", 1): (0.55, 0.54, 0.56), ("=tall|", 0): (0.40, 0.45)}
    return [
        one(model.address, accuracy, probe)
        for row in results.rows
        for model, accuracy in zip(row.models, by_row.get((row.lineage, row.place), ()), strict=False)
    ]


def test_rows(results: Results, give: Give) -> None:
    pixels = one("pixels", 0.3)
    other_shape, other_data = replace(pixels, shape=(3, 8, 8)), replace(pixels, fingerprint="d" * 64)
    give(made(results), [pixels, other_shape, other_data])
    rows = transfer_rows(results)
    assert all(set(row) == set(rows[0]) for row in rows)
    plain, first, second, tall, floor = rows
    assert [row["arm"] for row in rows] == ["plain", "chain", "chain", "=tall|", "pixels of 1 x 8 x 8"]
    assert (plain["accuracy"], plain["deviation"]) == (pytest.approx(0.51), pytest.approx(0.01))
    assert (plain["seeds"], plain["accuracies"], plain["l2"]) == ("0 1 2", "0.5 0.51 0.52", "0.01 0.01 0.01")
    assert [row["standing"] for row in rows] == ["reference", "the same models", "paired", "paired", ""]
    assert first["addresses"] == plain["addresses"]

    better, worse = paired([0.55, 0.54, 0.56], [0.50, 0.51, 0.52]), paired([0.40, 0.45], [0.50, 0.51])
    assert (second["difference"], second["difference_low"], second["p"]) == (better.mean, better.low, better.p)
    assert (tall["difference"], tall["difference_high"], tall["p"]) == (worse.mean, worse.high, worse.p)
    assert (tall["common_seeds"], tall["seeds"], tall["seeds_asked"]) == ("0 1", "0 1", 3)
    assert better.p is not None
    assert worse.p is not None
    assert better.p < worse.p
    assert (second["p_holm"], tall["p_holm"]) == (2 * better.p, max(worse.p, 2 * better.p))
    assert (floor["accuracy"], floor["seeds_asked"], floor["addresses"], floor["p"]) == (0.3, None, "", None)


def test_a_comparison_that_two_arms_share_is_corrected_for_once(results: Results, give: Give) -> None:
    give(made(results), [])
    rows = transfer_rows(results, reference="chain")
    assert [row["reference"] for row in rows] == ["chain/born again 1"] * 4
    plain, first, _, tall = rows
    assert plain["p"] == first["p"]
    assert isinstance(plain["p"], float)
    assert isinstance(tall["p"], float)
    low, high = sorted((plain["p"], tall["p"]))
    assert {plain["p_holm"], tall["p_holm"]} == {min(1.0, 2 * low), max(min(1.0, 2 * low), high)}
    assert first["p_holm"] == plain["p_holm"]


def test_one_seed_and_what_is_asked_for(results: Results, give: Give) -> None:
    give(made(results) + made(results, "knn"), [])
    rows = transfer_rows(results, seeds=(2,), probes=("knn",))
    assert {(row["probe"], row["seeds"]) for row in rows} == {("knn", "2")}
    assert all(row["p"] is None and row["deviation"] is None for row in rows)
    assert rows[2]["difference"] == pytest.approx(0.04)
    assert transfer_rows(results, fingerprint="another") == transfer_rows(results, layers=("stage2",)) == []
    give([], [one("pixels", 0.3)])
    assert transfer_rows(results) == []
    give([replace(found, layers=("stage2", "a.b:input")) for found in made(results, "knn")], [])
    (sheet,) = transfer_sheets(results, seeds=(2,), probes=("knn",))
    assert sheet.name == "transfer_knn_eeeeeeee-stage2-a-b-input"
    assert "One seed: no spread, no test." in sheet.notes
    assert sheet.rows[2][4:] == ("56.00", "+4.00")  # and no column of p-values
    with pytest.raises(ValueError, match="unknown seed of the run '7': choose from 0, 1, 2"):
        transfer_rows(results, seeds=(7,))


def test_tables_for_a_terminal_markdown_and_csv(results: Results, give: Give) -> None:
    linear = made(results)
    linear[0] = replace(linear[0], l2=1.0, converged=False)
    give([*linear, *made(results, "knn")], [one("pixels", 0.3), one("pixels", 0.2, "knn")])
    sheets = transfer_sheets(results)
    assert [sheet.name for sheet in sheets] == ["transfer_linear_eeeeeeee", "transfer_knn_eeeeeeee"]
    first = sheets[0]
    assert first.title == "Transfer to letters.npz (1,000 training and 200 test images, 26 classes): linear probe"
    assert first.rows[0] == ("plain", "baseline", "resnet8", "64", "3", "51.00 ± 1.00", "reference", "")
    assert first.rows[3][:6] == ("=tall|", "baseline", "resnet14", "64", "2 of 3", "42.50 ± 3.54")
    assert first.rows[4] == ("pixels of 1 x 8 x 8", "", "", "64", "", "30.00", "", "")
    assert "Of the fits, 1 chose the strongest or the weakest l2 there is: another might do better." in first.notes
    assert "Of the fits, 1 stopped before they converged." in first.notes
    assert not any("l2" in note or "converged" in note for note in sheets[1].notes)

    from rich.console import Console

    console = Console(width=160, file=io.StringIO())
    console.print(sheet_table(first))
    page = sheets_markdown("x", sheets, "tutelage transfer x")
    assert "| =tall\\| | baseline |" in page
    lines = list(csv.DictReader(io.StringIO(sheets_csv(sheets))))
    assert len(lines) == 10
    assert lines[3]["arm"] == "'=tall|"
    assert float(lines[0]["accuracy"]) == pytest.approx(0.51)


def test_a_difference_that_rounds_to_nothing_is_not_below_it(results: Results, give: Give) -> None:
    close = [
        one(model.address, accuracy)
        for row in (results.rows[0], results.rows[2])
        for model, accuracy in zip(
            row.models, {0: (0.5,) * 3, 1: (0.49999, 0.50001, 0.49999)}[row.place], strict=True
        )
    ]
    give(close, [])
    (sheet,) = transfer_sheets(results)
    difference = sheet.series[2]["difference"]
    assert isinstance(difference, float)
    assert -1e-5 < difference < 0.0
    assert sheet.rows[2][sheet.headings.index("difference")].startswith("+0.00 (")


def test_a_set_that_the_models_were_trained_on_is_named(results: Results, give: Give) -> None:
    give(made(results), [])
    assert not any("very dataset" in note for note in transfer_sheets(results)[0].notes)
    give([replace(found, data="digits") for found in made(results)], [])
    (sheet,) = transfer_sheets(results)
    assert "Some of these models were trained on images of this very dataset." in sheet.notes


def test_the_reference(results: Results, tmp_path: Path) -> None:
    rows = results.rows
    assert find_reference(results) is rows[0]
    assert find_reference(results, "chain") is rows[2]
    assert find_reference(results, "chain/first") is rows[1]
    with pytest.raises(ValueError, match="unknown reference 'plane': did you mean plain"):
        find_reference(results, "plane")
    told = replace(results, study=replace(results.study, reference="chain"))
    assert find_reference(told) is rows[2]
    chain = Study(lineages=(ARMS[1],), seeds=(0,))
    alone = load_results(write(chain, tmp_path, lambda *_: 0.5), tmp_path)
    assert find_reference(alone) is alone.rows[0]
    assert find_reference(alone, "born again 1") is alone.rows[1]
    begun = Study(lineages=ARMS, seeds=(0,))
    write(begun, tmp_path / "begun", lambda *_: 0.5, without=[(lineage.name, 0) for lineage in ARMS])
    assert transfer_sheets(load_results(begun.name, tmp_path / "begun")) == ()
    single = Study(lineages=(ARMS[0],), seeds=(0,))
    assert find_reference(load_results(write(single, tmp_path, lambda *_: 0.5), tmp_path)) is None
