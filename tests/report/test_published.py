"""Published numbers beside measured ones: values, marks of protocol, and the forms they are shown in."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tutelage.analysis import GenerationResult, Measures, Results, SeedResult
from tutelage.analysis.published import IN_METRIC, PublishedNumber, compare_published
from tutelage.artifacts.model import Model
from tutelage.experiments import experiments, find_experiment
from tutelage.experiments.scale import reduced
from tutelage.published import cells
from tutelage.report.published import published_markdown, published_table
from tutelage.report.table import Table
from tutelage.report.terminal import render
from tutelage.study import Study

TABLE_1 = "tolerant/table-1/densenet-100"
Accuracy = Callable[[str, int, int], float | None]


def measures(top1: float) -> Measures:
    return Measures(top1=top1, top5=1.0, nll=1.0, ece=0.1, primary=0.5, energy=(1.0,), at_chance=False)


def seed_result(top1: float, place: int) -> SeedResult:
    """What a model of this accuracy measured; the ensemble that it ends is 0.01 better."""
    return SeedResult(
        model=Model(address="", folder=Path()),
        test=measures(top1),
        train=measures(top1),
        ensemble=measures(top1 + 0.01) if place else None,
    )


def results_of(study: Study, accuracy: Accuracy, experiment: str = TABLE_1, precision: str = "fp32") -> Results:
    """Results with the top-1 accuracy that a test chooses by (arm, place, seed)."""
    generations = []
    for lineage in study.lineages:
        for place, generation in enumerate(lineage.generations):
            shares = {seed: accuracy(lineage.name, place, seed) for seed in study.seeds}
            finished = {seed: seed_result(top1, place) for seed, top1 in shares.items() if top1 is not None}
            generations.append(GenerationResult(arm=lineage.name, place=place, generation=generation, seeds=finished))
    return Results(study=study, generations=tuple(generations), experiment=experiment, precision=precision)


def numbers_of(results: Results) -> tuple[PublishedNumber, ...]:
    comparison = compare_published(results)
    assert comparison is not None
    return comparison.numbers


def table_of(results: Results) -> Table:
    table = published_table(compare_published(results))
    assert table is not None
    return table


def markdown_of(results: Results) -> str:
    return published_markdown(compare_published(results))


def full(seeds: tuple[int, ...] = (0, 1)) -> Study:
    return replace(find_experiment(TABLE_1).study, seeds=seeds)


def rising(_: str, place: int, seed: int) -> float:
    return 0.75 + 0.01 * place + 0.004 * seed


def test_each_printed_number_with_what_was_measured_in_its_metric() -> None:
    numbers = numbers_of(results_of(full(), rising))
    assert [number.cell for number in numbers] == list(cells("1805.05551", "1")[:23])
    by_place = {(number.arm, number.place, number.ensemble): number for number in numbers}
    first = by_place["D(0.6, 0.6)", 1, False]
    assert (first.generation, first.cell.value, first.n, first.requested) == ("generation 1", 21.29, 2, 2)
    assert first.measured is not None
    assert first.measured.mean == pytest.approx(100 * (1 - 0.762))  # an error, as printed
    assert first.measured.deviation == pytest.approx(0.4 / 2**0.5)
    assert first.difference == pytest.approx(23.8 - 21.29)
    together = by_place["D(0.6, 0.6)", 1, True]
    assert together.cell.value == 20.22
    assert together.measured is not None
    assert together.measured.mean == pytest.approx(22.8)
    assert ("D(0.6, 0.6)", 0, True) not in by_place


def test_accuracy_stays_accuracy_and_one_seed_has_no_spread() -> None:
    name = "tf-kd/table-1/resnet18_mobilenetv2"
    study = replace(find_experiment(name).study, seeds=(3,))
    numbers = {number.arm: number for number in numbers_of(results_of(study, lambda *_: 0.7, name))}
    assert list(numbers) == ["student", "teacher", "normal KD", "Re-KD"]
    kd = numbers["normal KD"]
    assert kd.measured is not None
    assert (kd.measured.mean, kd.measured.deviation, kd.n) == (pytest.approx(70.0), None, 1)
    assert (kd.cell.value, kd.cell.spread) == (71.05, 0.16)
    assert kd.difference == pytest.approx(-1.05)


def test_what_is_not_finished_has_no_number() -> None:
    def first_seed_alone(arm: str, place: int, seed: int) -> float | None:
        return None if seed or arm == "baseline" else rising(arm, place, seed)

    results = results_of(full(), first_seed_alone)
    baseline, *others = numbers_of(results)
    assert (baseline.arm, baseline.measured, baseline.difference, baseline.n) == ("baseline", None, None, 0)
    assert [(number.n, number.requested) for number in others] == [(1, 2)] * 22
    assert all(number.measured is not None and number.measured.deviation is None for number in others)
    row = "| baseline | baseline | Table 1: DenseNet-100, baseline, gen 0 | 22.88 | paper |  |  | 0 of 2 |"
    assert row in markdown_of(results)


def test_a_part_has_rows_for_what_it_trained_alone() -> None:
    part = reduced(find_experiment(TABLE_1), until=1, arms=("D(0.6, 0.7)",))
    table = table_of(results_of(part, rising))
    assert [(arm.text, model.text) for arm, model, *_ in table.rows] == [
        ("D(0.6, 0.7)", "patriarch"),
        ("D(0.6, 0.7)", "generation 1"),
        ("D(0.6, 0.7)", "ensemble of 0 to 1"),
    ]
    # what comes later changes nothing before it
    assert {cell.text for cell in table.column("protocol")} == {"no difference known"}


def test_a_smaller_run_is_marked_with_exactly_what_differs() -> None:
    small = reduced(find_experiment(TABLE_1), scale=0.01)
    numbers = {number.generation: number for number in numbers_of(results_of(small, rising, precision="bf16"))}
    same = (
        "500 training images instead of 50,000",
        "100 test images instead of 10,000",
        "3 epochs instead of 300",
        "bf16 arithmetic",
    )
    assert numbers["generation 3"].protocol_differences == same
    assert numbers["baseline"].protocol_differences[:4] == same
    assert "quotes its baseline from another repository" in numbers["baseline"].protocol_differences[4]
    assert "which epoch a printed number is from; here the last" in numbers["generation 3"].unknowns


def test_at_full_length_only_known_departures_are_marked() -> None:
    numbers = numbers_of(results_of(full(), rising))
    assert [len(number.protocol_differences) for number in numbers] == [1] + [0] * 22  # the quoted baseline
    name = "crd/same-type/resnet56_resnet20"
    results = results_of(find_experiment(name).study, rising, name)
    marks = {number.arm: number.protocol_differences for number in numbers_of(results)}
    assert len(marks["teacher"]) == 1
    assert len(marks["AT"]) == 2
    assert marks["AB"] == (*marks["AT"], marks["AB"][-1])
    assert "the benchmark starts a new one" in marks["AB"][-1]


def test_only_what_a_generation_depends_on_is_compared() -> None:
    name = "tf-kd/table-4/resnet18_mobilenetv2"
    whole = find_experiment(name)
    (student, line) = whole.study.lineages
    short = replace(line.generations[1], schedule=replace(line.generations[1].schedule, epochs=5))
    study = replace(whole.study, lineages=(student, replace(line, generations=(line.generations[0], short))))
    numbers = numbers_of(results_of(study, rising, name))
    marks = {number.generation: number.protocol_differences for number in numbers}
    assert "5 epochs instead of 200 (student)" in marks["student"]
    assert not any("epochs instead" in text for text in marks["poor teacher"])


def test_every_link_has_a_measure() -> None:
    assert {link.cell.metric for one in experiments().values() for link in one.links} <= set(IN_METRIC)


def test_a_study_that_is_no_experiment_or_of_an_unknown_one() -> None:
    plain = compare_published(results_of(full(), rising, experiment=""))
    assert plain is None
    assert published_table(plain) is None
    assert published_markdown(plain) == ""
    table = table_of(results_of(full(), rising, experiment="tolerant/table-7/x"))
    assert (table.rows, table.records) == ((), ())
    assert table.notes == ("This version of tutelage does not have the experiment 'tolerant/table-7/x'.",)


def test_an_experiment_without_printed_numbers_says_so() -> None:
    name = "preparing-lessons/cifar-100/resnet50_resnet18"
    results = results_of(find_experiment(name).study, rising, name)
    assert numbers_of(results) == ()
    text = markdown_of(results)
    assert "There is nothing to compare these arms with: the paper's numbers were not found." in text
    assert "here tutelage's defaults" in text
    assert "|" not in text


def test_the_table_and_the_page_say_the_same() -> None:
    results = results_of(reduced(find_experiment(TABLE_1), scale=0.01, until=1), rising, precision="bf16")
    console = Console(width=240, record=True, file=io.StringIO())
    console.print(render(table_of(results)))
    terminal, page = console.export_text(), markdown_of(results)
    assert page.startswith("## Published beside measured\n")
    for text in (terminal, page):
        assert "tolerant/table-1/densenet-100, arXiv 1805.05551, top-1 error %" in text
        assert "Protocol (1): 500 training images instead of 50,000; 100 test images instead of 10,000;" in text
        assert "Not known: which epoch a printed number is from; here the last." in text
        assert "read in paper (version 1)" in text
        assert "differs (2)" in text
    assert (
        "| D(0.6, 0.6) | generation 1 | Table 1: DenseNet-100, D(0.6, 0.6), gen 1 | 21.29 | paper | 24.00 | +2.71 |"
        in page
    )


def test_remarks_on_cells_and_missing_arms_are_shown() -> None:
    name = "logits/same-type/wrn-40-2_wrn-16-2"
    notes = table_of(results_of(find_experiment(name).study, rising, name)).notes
    assert "DKD, student: 76.23 in mdistiller's README." in notes
    assert "Not available: CTKD (tutelage has no curriculum temperature)." in notes
    assert any(note.startswith("Not known (MLKD): whether MLKD's number is from 240 epochs") for note in notes)
    fewer = replace(find_experiment(name).study, lineages=find_experiment(name).study.lineages[:3], reference=None)
    assert not any("MLKD): whether" in note for note in table_of(results_of(fewer, rising, name)).notes)


def test_records_are_json() -> None:
    records = [dict(record) for record in table_of(results_of(full(), rising)).records]
    assert json.loads(json.dumps(records)) == records
    assert records[1] == {
        "arm": "D(0.6, 0.6)",
        "model": "patriarch",
        "paper": "1805.05551",
        "table": "1",
        "row": "DenseNet-100, D(0.6, 0.6)",
        "column": "gen 0",
        "metric": "top-1 error %",
        "published": 23.96,
        "published_spread": None,
        "certainty": "paper",
        "source": "version 1",
        "remarks": "",
        "measured": records[1]["measured"],
        "deviation": records[1]["deviation"],
        "difference": records[1]["difference"],
        "seeds": 2,
        "seeds_requested": 2,
        "differs": "",
        "unknown": records[1]["unknown"],
    }
    assert "; ".join(numbers_of(results_of(full(), rising))[1].unknowns) == records[1]["unknown"]
