"""Records and tables of transfer from numbers that a test chooses: pairing, correction, floors, what is missing."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.report.made import arm, write
from tutelage.analysis import Paired, Results, load_results
from tutelage.analysis.statistics import paired
from tutelage.analysis.transfer import ProbeResult, TransferRecord, find_reference, transfer_records
from tutelage.artifacts.model import Model
from tutelage.evaluation.probe import PROTOCOLS
from tutelage.recipes.born_again import born_again
from tutelage.report import markdown
from tutelage.report.csv import tables_csv
from tutelage.report.terminal import render
from tutelage.report.transfer import transfer_tables
from tutelage.study import Study

ARMS = (arm("plain"), arm("chain", born_again, generations=1), arm("=tall|", model="resnet14"))
SEEDS = (0, 1, 2)
Store = Callable[[list[ProbeResult], list[ProbeResult]], None]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    study = Study(lineages=ARMS, seeds=SEEDS)
    return load_results(write(study, tmp_path, lambda *_: 0.5, without=[("=tall|", 2)]), tmp_path)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """Let these be the stored results of all models and of pixels."""

    def stored(of_models: list[ProbeResult], of_pixels: list[ProbeResult]) -> None:
        def of_model(model: Model) -> tuple[ProbeResult, ...]:
            return tuple(result for result in of_models if result.model == model.address)

        comparison = "tutelage.analysis.transfer.comparison"
        monkeypatch.setattr(f"{comparison}.stored_results", of_model)
        monkeypatch.setattr(f"{comparison}.stored_pixel_results", lambda runs: tuple(of_pixels))

    return stored


def result_of(model: str, accuracy: float, probe: str = "linear") -> ProbeResult:
    return ProbeResult(
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


def model_results(results: Results, probe: str = "linear") -> list[ProbeResult]:
    """Plain: 0.50 0.51 0.52; chain: its first generation is plain's, its second 0.55 0.54 0.56; tall: 0.40 0.45."""
    accuracies = {("plain", 0): (0.50, 0.51, 0.52), ("chain", 1): (0.55, 0.54, 0.56), ("=tall|", 0): (0.40, 0.45)}
    return [
        result_of(generation.models[seed].address, accuracy, probe)
        for generation in results.generations
        for seed, accuracy in zip(SEEDS, accuracies.get((generation.arm, generation.place), ()), strict=False)
    ]


def p_of(record: TransferRecord) -> float:
    assert record.difference is not None
    assert record.difference.p is not None
    return record.difference.p


def test_records(results: Results, store: Store) -> None:
    pixels = result_of("pixels", 0.3)
    other_shape, other_data = replace(pixels, shape=(3, 8, 8)), replace(pixels, fingerprint="d" * 64)
    store(model_results(results), [pixels, other_shape, other_data])
    records = transfer_records(results)
    plain, first, second, tall, floor = records
    assert [record.arm for record in records] == ["plain", "chain", "chain", "=tall|", ""]
    assert [record.of_pixels for record in records] == [False] * 4 + [True]
    assert (plain.accuracy.mean, plain.accuracy.deviation) == (pytest.approx(0.51), pytest.approx(0.01))
    assert (plain.seeds, plain.accuracies, plain.l2) == (SEEDS, (0.5, 0.51, 0.52), (0.01, 0.01, 0.01))
    assert [record.standing for record in records] == ["reference", "same models", "paired", "paired", ""]
    assert first.addresses == plain.addresses

    better, worse = paired([0.55, 0.54, 0.56], [0.50, 0.51, 0.52]), paired([0.40, 0.45], [0.50, 0.51])
    assert (second.difference, tall.difference) == (better, worse)
    assert (tall.common_seeds, tall.seeds, tall.seeds_requested) == ((0, 1), (0, 1), 3)
    assert p_of(second) < p_of(tall)
    assert (second.p_holm, tall.p_holm) == (2 * p_of(second), max(p_of(tall), 2 * p_of(second)))
    assert (floor.accuracy.mean, floor.shape, floor.seeds_requested) == (0.3, (1, 8, 8), None)
    assert (floor.addresses, floor.difference) == ((), None)

    (table,) = transfer_tables(records)
    lines = table.records
    assert all(set(line) == set(lines[0]) for line in lines)
    assert [line["arm"] for line in lines] == ["plain", "chain", "chain", "=tall|", "pixels of 1 x 8 x 8"]
    assert [lines[0][name] for name in ("seeds", "accuracies", "l2")] == ["0 1 2", "0.5 0.51 0.52", "0.01 0.01 0.01"]
    assert [line["standing"] for line in lines] == ["reference", "the same models", "paired", "paired", ""]
    tested = ("difference", "difference_low", "difference_high", "p")
    assert [lines[2][name] for name in tested] == [better.mean, better.low, better.high, better.p]
    assert [lines[3][name] for name in ("common_seeds", "seeds", "seeds_requested")] == ["0 1", "0 1", 3]
    assert [lines[4][name] for name in ("accuracy", "seeds_requested", "addresses", "p")] == [0.3, None, "", None]


def test_a_comparison_that_two_arms_share_is_corrected_for_once(results: Results, store: Store) -> None:
    store(model_results(results), [])
    records = transfer_records(results, reference="chain")
    assert [record.reference for record in records] == [("chain", "born again 1")] * 4
    plain, first, _, tall = records
    assert p_of(plain) == p_of(first)
    low, high = sorted((p_of(plain), p_of(tall)))
    assert {plain.p_holm, tall.p_holm} == {min(1.0, 2 * low), max(min(1.0, 2 * low), high)}
    assert first.p_holm == plain.p_holm


def test_one_seed_and_what_is_asked_for(results: Results, store: Store) -> None:
    store(model_results(results) + model_results(results, "knn"), [])
    records = transfer_records(results, seeds=(2,), probes=("knn",))
    assert {(record.probe, record.seeds) for record in records} == {("knn", (2,))}
    assert all(record.difference is None or record.difference.p is None for record in records)
    assert all(record.accuracy.deviation is None for record in records)
    assert records[2].difference == Paired(n=1, mean=pytest.approx(0.04), low=None, high=None, p=None)
    assert transfer_records(results, fingerprint="another") == transfer_records(results, layers=("stage2",)) == ()
    store([], [result_of("pixels", 0.3)])
    assert transfer_records(results) == ()
    tapped = [replace(result, layers=("stage2", "a.b:input")) for result in model_results(results, "knn")]
    store(tapped, [])
    (table,) = transfer_tables(transfer_records(results, seeds=(2,), probes=("knn",)))
    assert table.name == "transfer_knn_eeeeeeee-stage2-a-b-input"
    assert "One seed: no spread, no test." in table.notes
    assert [cell.text for cell in table.rows[2][4:]] == ["56.00", "+4.00"]  # and no column of p-values
    with pytest.raises(ValueError, match="unknown seed of the run '7': choose from 0, 1, 2"):
        transfer_records(results, seeds=(7,))


def test_tables_for_a_terminal_markdown_and_csv(results: Results, store: Store) -> None:
    linear = model_results(results)
    linear[0] = replace(linear[0], l2=1.0, converged=False)
    pixels = [result_of("pixels", 0.3), result_of("pixels", 0.2, "knn")]
    store([*linear, *model_results(results, "knn")], pixels)
    tables = transfer_tables(transfer_records(results))
    assert [table.name for table in tables] == ["transfer_linear_eeeeeeee", "transfer_knn_eeeeeeee"]
    first = tables[0]
    assert first.title == "Transfer to letters.npz (1,000 training and 200 test images, 26 classes): linear probe"
    rows = [[cell.text for cell in row] for row in first.rows]
    assert rows[0] == ["plain", "baseline", "resnet8", "64", "3", "51.00 ± 1.00", "reference", ""]
    assert rows[3][:6] == ["=tall|", "baseline", "resnet14", "64", "2 of 3", "42.50 ± 3.54"]
    assert rows[4] == ["pixels of 1 x 8 x 8", "", "", "64", "", "30.00", "", ""]
    assert "1 of the fits chose the strongest or the weakest l2: a value beyond it might do better." in first.notes
    assert "1 of the fits stopped before they converged." in first.notes
    assert not any("l2" in note or "converged" in note for note in tables[1].notes)

    from rich.console import Console

    console = Console(width=160, file=io.StringIO())
    console.print(render(first))
    page = markdown.document("x", tables, "tutelage transfer x")
    assert "| =tall\\| | baseline |" in page
    lines = list(csv.DictReader(io.StringIO(tables_csv(tables))))
    assert len(lines) == 10
    assert lines[3]["arm"] == "'=tall|"
    assert float(lines[0]["accuracy"]) == pytest.approx(0.51)


def test_a_difference_that_rounds_to_nothing_is_not_below_it(results: Results, store: Store) -> None:
    accuracies = {0: (0.5,) * 3, 1: (0.49999, 0.50001, 0.49999)}
    close = [
        result_of(generation.models[seed].address, accuracy)
        for generation in (results.generations[0], results.generations[2])
        for seed, accuracy in zip(SEEDS, accuracies[generation.place], strict=True)
    ]
    store(close, [])
    records = transfer_records(results)
    assert records[2].difference is not None
    assert -1e-5 < records[2].difference.mean < 0.0
    (table,) = transfer_tables(records)
    assert table.column("difference")[2].text.startswith("+0.00 (")


def test_a_set_that_the_models_were_trained_on_is_named(results: Results, store: Store) -> None:
    store(model_results(results), [])
    assert not any("very dataset" in note for note in transfer_tables(transfer_records(results))[0].notes)
    store([replace(result, data="digits") for result in model_results(results)], [])
    (table,) = transfer_tables(transfer_records(results))
    assert "Some of these models were trained on images of this very dataset." in table.notes


def test_the_reference(results: Results, tmp_path: Path) -> None:
    generations = results.generations
    assert find_reference(results) is generations[0]
    assert find_reference(results, "chain") is generations[2]
    assert find_reference(results, "chain/first") is generations[1]
    with pytest.raises(ValueError, match="unknown reference 'plane': did you mean plain"):
        find_reference(results, "plane")
    with_reference = replace(results, study=replace(results.study, reference="chain"))
    assert find_reference(with_reference) is generations[2]
    chain = Study(lineages=(ARMS[1],), seeds=(0,))
    alone = load_results(write(chain, tmp_path, lambda *_: 0.5), tmp_path)
    assert find_reference(alone) is alone.generations[0]
    assert find_reference(alone, "born again 1") is alone.generations[1]
    begun = Study(lineages=ARMS, seeds=(0,))
    write(begun, tmp_path / "begun", lambda *_: 0.5, without=[(lineage.name, 0) for lineage in ARMS])
    assert transfer_records(load_results(begun.name, tmp_path / "begun")) == ()
    single = Study(lineages=(ARMS[0],), seeds=(0,))
    assert find_reference(load_results(write(single, tmp_path, lambda *_: 0.5), tmp_path)) is None
