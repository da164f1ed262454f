"""A training that came to nothing without a fault on its way is marked wherever its numbers stand."""

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
from tutelage.recipes import call
from tutelage.recipes.baselines import baseline
from tutelage.recipes.teacher_free import defective
from tutelage.report import as_csv, comparison_table, markdown, run_table
from tutelage.report.page.blocks import Statement
from tutelage.report.page.build import page
from tutelage.report.page.sections.summary import answer, generations
from tutelage.study import Execution, Study, run

ONE = Execution(device="cpu", precision="fp32", threads=1)


def logits(labels: torch.Tensor, right: int, classes: int) -> torch.Tensor:
    """Right for the first so many, wrong for the others."""
    named = (labels + 1) % classes
    named[:right] = labels[:right]
    return torch.eye(classes)[named]


@pytest.mark.fault(22)
@pytest.mark.parametrize(
    ("images", "classes", "least"), [(10000, 100, 133), (10000, 10, 1095), (1497, 10, 188), (300, 10, 48), (12, 4, 9)]
)
def test_how_many_right_answers_are_a_sign(images: int, classes: int, least: int) -> None:
    labels = torch.arange(images) % classes
    share = labels.bincount().max().item() / images
    assert binom.sf(least - 1, images, share) < 0.001 <= binom.sf(least - 2, images, share)
    assert not at_chance(logits(labels, least, classes), labels)
    assert at_chance(logits(labels, least - 1, classes), labels)


@pytest.mark.fault(22)
@given(
    counts=st.lists(st.integers(0, 60), min_size=2, max_size=8).filter(lambda found: sum(found) > 0),
    label=st.integers(0, 7),
)
def test_whoever_always_answers_the_same_is_at_chance(counts: list[int], label: int) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    same = torch.eye(len(counts))[torch.full_like(labels, label % len(counts))]
    assert at_chance(same, labels)
    assert at_chance(same * torch.nan, labels)
    assert at_chance(torch.zeros_like(same), labels)


@pytest.mark.fault(22)
def test_whoever_draws_lots_is_at_chance_but_for_one_in_a_thousand(tried: Tried) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(500) % 10
    found = sum(at_chance(torch.rand(500, 10, generator=generator), labels) for _ in range(2000))
    assert found >= 1990
    tried(2000, f"networks that draw lots, {found} of them marked")


@pytest.mark.fault(22)
def test_a_sweep_of_learning_rates(tmp_path: Path, tried: Tried) -> None:
    """Too high a rate ends with a finite loss that explodes, and no more than one class is ever answered."""
    rates = (0.1, 2.0, 10.0, 50.0)
    quick = {"epochs": 6, "train_size": 100, "test_size": 300}
    arms = tuple(replace(call("baseline", lr=rate, **quick), name=f"lr {rate:g}") for rate in rates)
    study = Study(lineages=arms)
    events = list(run(study, runs=tmp_path, machine=ONE))
    assert not [event.text for event in events if event.phase == "failed"]
    results = load_results(study.name, tmp_path)
    assert [row.at_chance for row in results.rows] == [[], [0], [0], [0]]
    assert [event.at_chance for event in events if event.phase == "finished"] == [False, True, True, True]
    nll = [row.test[0]["nll"] for row in results.rows]
    assert all(isinstance(value, float) and value > 20 for value in nll[1:])
    for row in results.rows[1:]:
        assert len(row.models[0].predictions()["test"].argmax(1).unique()) <= 2
    tried(3, "learning rates that diverge with a finite loss, each marked; one that does not, not marked")


SEEDS = (0, 1, 2)


def accuracy(arm: str, place: int, seed: int) -> float:
    """One seed of the arm ``diverged`` learned nothing, and no seed of ``lost``."""
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


SAID = "diverged: 1 of 3 seeds at chance (seed 2), included in the mean"
SAID_OF_ALL = "lost: 3 of 3 seeds at chance (seeds 0, 1, 2), included in the mean"


def drawn(found: object) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(found)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


@pytest.mark.fault(22)
def test_the_mean_has_every_seed_in_it_and_says_beside_it_which_learned_nothing(compared: Comparison) -> None:
    plain, diverged, lost = compared.standings
    assert (plain.at_chance, diverged.at_chance, lost.at_chance) == ((), (2,), SEEDS)
    assert diverged.top1 is not None
    expected = summary([0.8, 0.81, 0.1], 0.95)
    assert diverged.top1.mean == pytest.approx(expected.mean, abs=0.01)
    beside = "3 (1 at chance) | " + f"{100 * diverged.top1.mean:.2f} ± {100 * (diverged.top1.deviation or 0):.2f}"
    page_of_text = markdown(compared)
    assert beside in page_of_text.replace("\\", "")
    assert f"{SAID}." in page_of_text
    assert "3 (3 at chance)" in page_of_text
    in_terminal = drawn(comparison_table(compared))
    assert "3 (1 at chance)" in in_terminal
    assert f"{SAID}. {SAID_OF_ALL}. At chance: so many right answers may come about" in in_terminal


@pytest.mark.fault(22)
def test_the_table_of_a_run_marks_them(compared: Comparison) -> None:
    found = drawn(run_table(compared.results))
    assert "3 (1 at chance)" in found
    assert "diverged: baseline: 1 of 3 seeds at chance (seed 2), included in the mean" in found
    only_plain = replace(compared.results, rows=compared.results.rows[:1])
    assert "at chance" not in drawn(run_table(only_plain))


@pytest.mark.fault(22)
def test_the_page_marks_them(compared: Comparison) -> None:
    told = [block for block in answer(compared).blocks if isinstance(block, Statement) and "at chance" in block.text]
    assert [(block.text, block.mark) for block in told] == [(f"{SAID}; {SAID_OF_ALL}.", "failed")]
    rows = generations(compared).blocks[0].rows
    place = generations(compared).blocks[0].columns.index("seeds")
    assert [row[place] for row in rows] == ["3", "3 (1 at chance)", "3 (3 at chance)"]
    html = page({"run": compared}, [answer, generations])
    assert SAID in html
    assert "3 (3 at chance)" in html


@pytest.mark.fault(22)
def test_the_csv_names_the_seeds(compared: Comparison) -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(compared))))
    assert [line["seeds_at_chance"] for line in lines] == ["", "2", "0 1 2"]


@pytest.mark.fault(22)
def test_a_poor_teacher_that_was_asked_for_is_marked_and_teaches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Defective distillation wants one; here one that learned nothing at all."""
    line = call(defective, teacher="resnet8", epochs=2, train_size=20, test_size=100)
    poor, student = line.generations
    line = replace(line, generations=(replace(poor, schedule=replace(poor.schedule, lr=0.0)), student))
    study = Study(lineages=(line,))
    assert follow(run(study, runs=tmp_path, machine=ONE), study, ONE) == 0
    said = capsys.readouterr().err
    assert ", at chance\n" in said
    assert "warning" not in said
    poor_row, student_row = load_results(study.name, tmp_path).rows
    assert poor_row.at_chance == [0]
    assert student_row.seeds == [0]
