"""A model that learned nothing, though no error occurred, is marked wherever its numbers are shown."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import binom

from tests.conftest import Tried
from tests.report import made
from tutelage.analysis import Comparison, load_results
from tutelage.analysis.statistics import summary
from tutelage.cli.progress import follow
from tutelage.evaluation import at_chance
from tutelage.lineage import Finished
from tutelage.recipes import call
from tutelage.recipes.baselines import baseline
from tutelage.recipes.teacher_free import defective
from tutelage.report.comparison import comparison_csv, comparison_markdown, comparison_table
from tutelage.report.generations import generations_table
from tutelage.report.page.blocks import Statement
from tutelage.report.page.build import page
from tutelage.report.page.sections.summary import answer, generations
from tutelage.report.table import Table
from tutelage.report.terminal import render
from tutelage.study import Execution, Failed, Study, run

ONE = Execution(device="cpu", precision="fp32", threads=1)


def logits(labels: torch.Tensor, right: int, classes: int) -> torch.Tensor:
    """Logits that are right for the first ``right`` labels and wrong for the others."""
    answers = (labels + 1) % classes
    answers[:right] = labels[:right]
    return torch.eye(classes)[answers]


@pytest.mark.fault(22)
@pytest.mark.parametrize(
    ("images", "classes", "least"), [(10000, 100, 133), (10000, 10, 1095), (1497, 10, 188), (300, 10, 48), (12, 4, 9)]
)
def test_how_many_right_answers_are_significant(images: int, classes: int, least: int) -> None:
    labels = torch.arange(images) % classes
    share = labels.bincount().max().item() / images
    assert binom.sf(least - 1, images, share) < 0.001 <= binom.sf(least - 2, images, share)
    assert not at_chance(logits(labels, least, classes), labels)
    assert at_chance(logits(labels, least - 1, classes), labels)


@pytest.mark.fault(22)
@given(
    counts=st.lists(st.integers(0, 60), min_size=2, max_size=8).filter(lambda counts: sum(counts) > 0),
    label=st.integers(0, 7),
)
def test_constant_answers_are_at_chance(counts: list[int], label: int) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    same = torch.eye(len(counts))[torch.full_like(labels, label % len(counts))]
    assert at_chance(same, labels)
    assert at_chance(same * torch.nan, labels)
    assert at_chance(torch.zeros_like(same), labels)


@pytest.mark.fault(22)
def test_random_answers_are_at_chance_but_for_one_in_a_thousand(tried: Tried) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(500) % 10
    marked = sum(at_chance(torch.rand(500, 10, generator=generator), labels) for _ in range(2000))
    assert marked >= 1990
    tried(2000, f"networks that guess, {marked} of them marked")


@pytest.mark.fault(22)
def test_a_sweep_of_learning_rates(tmp_path: Path, tried: Tried) -> None:
    """Too high a learning rate ends in a large but finite loss and a constant answer."""
    rates = (0.1, 1e3, 1e4, 1e5)
    quick = {"model": "tests.faults.networks:Blinded", "epochs": 6, "train_size": 100, "test_size": 300}
    arms = tuple(replace(call("baseline", lr=rate, **quick), name=f"lr {rate:g}") for rate in rates)
    study = Study(lineages=arms)
    events = list(run(study, runs=tmp_path, execution=ONE))
    assert not [event.message for event in events if isinstance(event, Failed)]
    results = load_results(study.name, tmp_path)
    assert [row.test()[0].at_chance for row in results.generations] == [False, True, True, True]
    assert [event.at_chance for event in events if isinstance(event, Finished)] == [False, True, True, True]
    nll = [row.test()[0].nll for row in results.generations]
    assert all(isinstance(value, float) and value > 20 for value in nll[1:])
    for row in results.generations[1:]:
        assert len(row.models[0].predictions()["test"].argmax(1).unique()) == 1
    tried(3, "learning rates that diverge with a finite loss, each marked; one that does not, not marked")


SEEDS = (0, 1, 2)


def accuracy(arm: str, place: int, seed: int) -> float:
    """One seed of the arm ``diverged`` learned nothing, and all seeds of ``lost``."""
    if arm == "lost" or (arm == "diverged" and seed == 2):
        return 0.1
    return 0.8 + 0.01 * seed


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    arms = tuple(made.arm(name, baseline, lr=lr) for name, lr in (("plain", 0.1), ("diverged", 0.2), ("lost", 0.3)))
    study = Study(lineages=arms, seeds=SEEDS)
    runs = tmp_path_factory.mktemp("chance")
    made.write(study, runs, accuracy)
    return made.comparison(study, runs)


DIVERGED_NOTE = "diverged: 1 of 3 seeds at chance (seed 2), included in the mean"
LOST_NOTE = "lost: 3 of 3 seeds at chance (seeds 0, 1, 2), included in the mean"


def printed(renderable: object) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


@pytest.mark.fault(22)
def test_the_mean_includes_every_seed_with_a_note_on_those_at_chance(compared: Comparison) -> None:
    plain, diverged, lost = compared.arms
    assert (plain.at_chance, diverged.at_chance, lost.at_chance) == ((), (2,), SEEDS)
    assert diverged.top1 is not None
    expected = summary([0.8, 0.81, 0.1], 0.95)
    assert diverged.top1.mean == pytest.approx(expected.mean, abs=0.01)
    beside = "3 (1 at chance) | " + f"{100 * diverged.top1.mean:.2f} ± {100 * (diverged.top1.deviation or 0):.2f}"
    page_of_text = comparison_markdown(compared)
    assert beside in page_of_text.replace("\\", "")
    assert f"{DIVERGED_NOTE}." in page_of_text
    assert "3 (3 at chance)" in page_of_text
    in_terminal = printed(render(comparison_table(compared)))
    assert "3 (1 at chance)" in in_terminal
    assert f"{DIVERGED_NOTE}. {LOST_NOTE}. At chance: accuracy is not significantly above guessing" in in_terminal


@pytest.mark.fault(22)
def test_the_table_of_a_run_marks_them(compared: Comparison) -> None:
    text = printed(render(generations_table(compared.results)))
    assert "3 (1 at chance)" in text
    assert "diverged: baseline: 1 of 3 seeds at chance (seed 2), included in the mean" in text
    only_plain = replace(compared.results, generations=compared.results.generations[:1])
    assert "at chance" not in printed(render(generations_table(only_plain)))


@pytest.mark.fault(22)
def test_the_page_marks_them(compared: Comparison) -> None:
    notes = [block for block in answer(compared).blocks if isinstance(block, Statement) and "at chance" in block.text]
    assert [(block.text, block.mark) for block in notes] == [(f"{DIVERGED_NOTE}; {LOST_NOTE}.", "failed")]
    (table,) = generations(compared).blocks
    assert isinstance(table, Table)
    assert [cell.text for cell in table.column("seeds")] == ["3", "3 (1 at chance)", "3 (3 at chance)"]
    html = page({"run": compared}, [answer, generations])
    assert DIVERGED_NOTE in html
    assert "3 (3 at chance)" in html


@pytest.mark.fault(22)
def test_the_csv_names_the_seeds(compared: Comparison) -> None:
    lines = list(csv.DictReader(io.StringIO(comparison_csv(compared))))
    assert [line["seeds_at_chance"] for line in lines] == ["", "2", "0 1 2"]


@pytest.mark.fault(22)
def test_a_deliberately_poor_teacher_is_marked_and_teaches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Defective distillation requests a poor teacher; this one has learned nothing at all."""
    line = call(defective, teacher="resnet8", epochs=2, train_size=20, test_size=100)
    poor, student = line.generations
    line = replace(line, generations=(replace(poor, schedule=replace(poor.schedule, lr=0.0)), student))
    study = Study(lineages=(line,))
    assert follow(run(study, runs=tmp_path, execution=ONE), study, ONE) == 0
    output = capsys.readouterr().err
    assert ", at chance\n" in output
    assert "warning" not in output
    poor_row, student_row = load_results(study.name, tmp_path).generations
    assert poor_row.test()[0].at_chance
    assert list(student_row.seeds) == [0]
