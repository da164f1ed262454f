"""Published numbers beside measured ones: values, marks of protocol, and the forms they are shown in."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from tutelage.analysis import Results
from tutelage.analysis import Row as Generation
from tutelage.experiments import experiments, find
from tutelage.experiments.scale import reduced
from tutelage.published import cells
from tutelage.report.published import (
    MEASURES,
    beside,
    published_markdown,
    published_notes,
    published_rows,
    published_table,
)
from tutelage.study import Study

TABLE_1 = "tolerant/table-1/densenet-100"
Accuracy = Callable[[str, int, int], float | None]


def made(study: Study, accuracy: Accuracy, experiment: str = TABLE_1, precision: str = "fp32") -> Results:
    """Results with the top-1 accuracy that a test chooses by (arm, place, seed); an ensemble is 0.01 better."""
    rows = []
    for line in study.lineages:
        for place, generation in enumerate(line.generations):
            shares = {seed: share for seed in study.seeds if (share := accuracy(line.name, place, seed)) is not None}
            row = Generation(
                lineage=line.name,
                place=place,
                generation=generation.name,
                model=generation.model,
                expected=None,
                models=(),
                seeds=list(shares),
                test=[{"top1": share, "top5": 1.0} for share in shares.values()],
                ensemble=[{"top1": share + 0.01, "top5": 1.0} for share in shares.values()] if place else [],
            )
            rows.append(row)
    return Results(study=study, rows=tuple(rows), experiment=experiment, precision=precision)


def full(seeds: tuple[int, ...] = (0, 1)) -> Study:
    return replace(find(TABLE_1).study, seeds=seeds)


def known(_: str, place: int, seed: int) -> float:
    return 0.75 + 0.01 * place + 0.004 * seed


def test_each_printed_number_with_what_was_measured_in_its_metric() -> None:
    rows = beside(made(full(), known))
    assert [row.cell for row in rows] == list(cells("1805.05551", "1")[:23])
    by_place = {(row.arm, row.generation): row for row in rows}
    first = by_place["D(0.6, 0.6)", "generation 1"]
    assert (first.cell.value, first.n, first.asked) == (21.29, 2, 2)
    assert first.measured == pytest.approx(100 * (1 - 0.762))  # an error, as printed
    assert first.deviation == pytest.approx(0.4 / 2**0.5)
    assert first.difference == pytest.approx(23.8 - 21.29)
    together = by_place["D(0.6, 0.6)", "ensemble of 0 to 1"]
    assert together.cell.value == 20.22
    assert together.measured == pytest.approx(22.8)
    assert "ensemble of 0 to 0" not in {row.generation for row in rows}


def test_accuracy_stays_accuracy_and_one_seed_has_no_spread() -> None:
    name = "tf-kd/table-1/resnet18_mobilenetv2"
    study = replace(find(name).study, seeds=(3,))
    rows = {row.arm: row for row in beside(made(study, lambda *_: 0.7, name))}
    assert list(rows) == ["student", "teacher", "normal KD", "Re-KD"]
    kd = rows["normal KD"]
    assert (kd.measured, kd.deviation, kd.n) == (pytest.approx(70.0), None, 1)
    assert (kd.cell.value, kd.cell.spread) == (71.05, 0.16)
    assert kd.difference == pytest.approx(-1.05)


def test_what_is_not_finished_has_no_number() -> None:
    def first_seed_alone(arm: str, place: int, seed: int) -> float | None:
        return None if seed or arm == "baseline" else known(arm, place, seed)

    rows = beside(made(full(), first_seed_alone))
    assert (rows[0].arm, rows[0].measured, rows[0].difference, rows[0].n) == ("baseline", None, None, 0)
    assert [(row.n, row.asked, row.deviation) for row in rows[1:]] == [(1, 2, None)] * 22
    text = published_markdown(made(full(), first_seed_alone))
    assert "| baseline | baseline | Table 1: DenseNet-100, baseline, gen 0 | 22.88 | paper |  |  | 0 of 2 |" in text


def test_a_part_has_rows_for_what_it_trained_alone() -> None:
    part = reduced(find(TABLE_1), until=1, arms=("D(0.6, 0.7)",))
    rows = beside(made(part, known))
    assert [(row.arm, row.generation) for row in rows] == [
        ("D(0.6, 0.7)", "patriarch"),
        ("D(0.6, 0.7)", "generation 1"),
        ("D(0.6, 0.7)", "ensemble of 0 to 1"),
    ]
    assert all(row.differs == () for row in rows)  # what comes later changes nothing before it


def test_a_smaller_run_is_marked_with_exactly_what_differs() -> None:
    small = reduced(find(TABLE_1), scale=0.01)
    rows = {row.generation: row for row in beside(made(small, known, precision="bf16"))}
    same = (
        "500 training images instead of 50,000",
        "100 test images instead of 10,000",
        "3 epochs instead of 300",
        "bf16 arithmetic",
    )
    assert rows["generation 3"].differs == same
    assert rows["baseline"].differs[:4] == same
    assert "quotes its baseline from another repository" in rows["baseline"].differs[4]
    assert "which epoch a printed number is of; here the last" in rows["generation 3"].unknown


def test_at_full_length_only_known_departures_are_marked() -> None:
    rows = beside(made(full(), known))
    assert [len(row.differs) for row in rows] == [1] + [0] * 22  # the quoted baseline
    name = "crd/same-type/resnet56_resnet20"
    marks = {row.arm: row.differs for row in beside(made(find(name).study, known, name))}
    assert len(marks["teacher"]) == 1
    assert len(marks["AT"]) == 3
    assert marks["AB"] == (*marks["AT"], marks["AB"][-1])
    assert "optimizer anew" in marks["AB"][-1]


def test_only_what_a_generation_depends_on_is_compared() -> None:
    name = "tf-kd/table-4/resnet18_mobilenetv2"
    whole = find(name)
    (student, line) = whole.study.lineages
    short = replace(line.generations[1], schedule=replace(line.generations[1].schedule, epochs=5))
    study = replace(whole.study, lineages=(student, replace(line, generations=(line.generations[0], short))))
    marks = {row.generation: row.differs for row in beside(made(study, known, name))}
    assert "5 epochs instead of 200 (student)" in marks["student"]
    assert not any("epochs instead" in text for text in marks["poor teacher"])


def test_every_link_has_a_measure() -> None:
    assert {link.cell.metric for one in experiments().values() for link in one.links} <= set(MEASURES)


def test_a_study_that_is_no_experiment_or_of_an_unknown_one() -> None:
    plain = made(full(), known, experiment="")
    assert beside(plain) == ()
    assert published_table(plain) is None
    assert (published_markdown(plain), published_rows(plain), published_notes(plain)) == ("", [], [])
    gone = made(full(), known, experiment="tolerant/table-7/x")
    assert beside(gone) == ()
    assert published_notes(gone) == ["This version of tutelage knows no experiment 'tolerant/table-7/x'."]


def test_an_experiment_without_printed_numbers_says_so() -> None:
    name = "preparing-lessons/cifar-100/resnet50_resnet18"
    found = made(find(name).study, known, name)
    assert beside(found) == ()
    text = published_markdown(found)
    assert "Nothing printed stands beside these arms: the paper's numbers were not found." in text
    assert "here tutelage's defaults" in text
    assert "|" not in text


def test_the_table_and_the_page_say_the_same() -> None:
    found = made(reduced(find(TABLE_1), scale=0.01, until=1), known, precision="bf16")
    console = Console(width=240, record=True, file=io.StringIO())
    console.print(published_table(found))
    drawn, page = console.export_text(), published_markdown(found)
    assert page.startswith("## Published beside measured\n")
    for text in (drawn, page):
        assert "tolerant/table-1/densenet-100, arXiv 1805.05551, top-1 error %" in text
        assert "Protocol (1): 500 training images instead of 50,000; 100 test images instead of 10,000;" in text
        assert "Not known: which epoch a printed number is of; here the last." in text
        assert "read in paper (version 1)" in text
        assert "differs (2)" in text
    assert (
        "| D(0.6, 0.6) | generation 1 | Table 1: DenseNet-100, D(0.6, 0.6), gen 1 | 21.29 | paper | 24.00 | +2.71 |"
        in page
    )


def test_remarks_on_cells_and_missing_arms_are_shown() -> None:
    name = "logits/same-type/wrn-40-2_wrn-16-2"
    notes = published_notes(made(find(name).study, known, name))
    assert "DKD, student: 76.23 in mdistiller's README." in notes
    assert "Not here: CTKD (curriculum temperature is no method of tutelage)." in notes
    assert any(note.startswith("Not known (MLKD): whether 240 epochs or more made MLKD's number") for note in notes)
    fewer = replace(find(name).study, lineages=find(name).study.lineages[:3], reference=None)
    assert not any("MLKD): whether" in note for note in published_notes(made(fewer, known, name)))


def test_plain_rows_are_json() -> None:
    rows = published_rows(made(full(), known))
    assert json.loads(json.dumps(rows)) == rows
    assert rows[1] == {
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
        "remarks": [],
        "measured": rows[1]["measured"],
        "deviation": rows[1]["deviation"],
        "difference": rows[1]["difference"],
        "seeds": 2,
        "seeds_asked": 2,
        "differs": [],
        "unknown": rows[1]["unknown"],
    }
