"""Studies: what fails fails alone, what is shared is trained once, and the numbers are those of the models."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import pytest
import torch

from tutelage.analysis import load_results
from tutelage.evaluation import accuracy, ensemble
from tutelage.lineage import models_of
from tutelage.recipes import call
from tutelage.report import run_table
from tutelage.study import Event, Execution, Study, load_study, run, studies
from tutelage.study.spec import StudyRecord

MACHINE = Execution(device="cpu", precision="fp32", threads=1)
QUICK = {"train_size": 20, "epochs": 2}


def finish(study: Study, runs: Path, machine: Execution = MACHINE) -> list[Event]:
    return list(run(study, runs=runs, machine=machine))


def test_the_table_is_made_of_the_models(tmp_path: Path) -> None:
    study = Study(lineages=(call("tolerant", generations=1, **QUICK),), seeds=(3, 5))
    finish(study, tmp_path)
    results = load_results(study.name, tmp_path)
    written = load_study(study.name, tmp_path)
    patriarch, first = results.rows
    assert [patriarch.expected, first.expected] == pytest.approx([0.6, 0.76])
    by_hand = []
    for seed in (3, 5):
        models = models_of(study.lineages[0], seed, written.fingerprints[0], "fp32", tmp_path)
        logits = [model.predictions()["test"] for model in models]
        labels = models[0].predictions()["test_labels"]
        by_hand.append((accuracy(logits[1], labels), accuracy(ensemble(logits), labels)))
    assert [measured["top1"] for measured in first.test] == [one for one, _ in by_hand]
    assert [measured["top1"] for measured in first.ensemble] == [both for _, both in by_hand]
    cells = list(run_table(results).columns[3].cells)
    values = [100 * one for one, _ in by_hand]
    assert cells[1] == f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}"


def test_one_seed_shows_no_spread(tmp_path: Path) -> None:
    study = Study(lineages=(call("baseline", **QUICK),))
    finish(study, tmp_path)
    drawn = run_table(load_results(study.name, tmp_path))
    assert "±" not in "".join(str(cell) for column in drawn.columns for cell in column.cells)
    assert "one seed (no spread)" in str(drawn.title)


def test_arms_share_their_generations(tmp_path: Path) -> None:
    study = Study(lineages=(call("baseline", **QUICK), call("born_again", generations=1, **QUICK)))
    phases = [event.phase for event in finish(study, tmp_path) if event.phase in ("kept", "finished")]
    assert phases == ["finished", "kept", "finished"]


class FailsForOneSeed(torch.nn.Module):
    """Built from an odd seed it puts out NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Linear(64, 10)
        self.poison = float("nan") if torch.initial_seed() % 2 else 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.flatten(1)) + self.poison


@pytest.mark.fault(37)
def test_a_seed_that_fails_leaves_the_others(tmp_path: Path) -> None:
    lineage = call("baseline", model="tests.study.test_study:FailsForOneSeed", **QUICK)
    study = Study(lineages=(lineage,), seeds=tuple(range(6)))
    events = finish(study, tmp_path)
    failed = {event.seed for event in events if event.phase == "failed"}
    done = {event.seed for event in events if event.phase == "finished"}
    assert failed
    assert done
    assert failed | done == set(range(6))
    assert all("not finite" in event.text for event in events if event.phase == "failed")
    (row,) = load_results(study.name, tmp_path).rows
    assert len(row.test) == len(done)
    assert f"{len(done)} of 6" in next(iter(run_table(load_results(study.name, tmp_path)).columns[2].cells))


def dies() -> torch.nn.Module:
    """A network that takes its process with it, except in the process of the tests."""
    if os.environ.get("PYTEST_CURRENT_TEST", "").count("processes") and os.getppid() == int(
        os.environ["PARENT_OF_SEEDS"]
    ):
        os._exit(9)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))


@pytest.mark.fault(37)
def test_seeds_in_processes_and_one_that_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side_by_side = Execution(device="cpu", precision="fp32", threads=1, processes=2)
    study = Study(lineages=(call("baseline", **QUICK),), seeds=(0, 1))
    finish(study, tmp_path / "one after the other")
    events = finish(study, tmp_path / "side by side", side_by_side)
    assert sorted(event.seed for event in events if event.phase == "finished") == [0, 1]
    assert [row.test for row in load_results(study.name, tmp_path / "one after the other").rows] == [
        row.test for row in load_results(study.name, tmp_path / "side by side").rows
    ]
    monkeypatch.setenv("PARENT_OF_SEEDS", str(os.getpid()))
    fatal = Study(lineages=(call("baseline", model="tests.study.test_study:dies", **QUICK),), seeds=(0, 1))
    events = finish(fatal, tmp_path, side_by_side)
    assert [event.text for event in events if event.phase == "failed"] == ["its process ended with code 9"] * 2


def test_studies_are_written_down_and_found(tmp_path: Path) -> None:
    study = Study(lineages=(call("baseline", **QUICK),), seeds=(1,))
    finish(study, tmp_path)
    assert studies(tmp_path) == [study.name]
    written = load_study(study.name, tmp_path)
    assert isinstance(written, StudyRecord)
    assert written.study == study
    with pytest.raises(ValueError, match=f"did you mean {study.name}"):
        load_study(study.name + "x", tmp_path)
    with pytest.raises(ValueError, match="holds none yet"):
        load_study("x", tmp_path / "elsewhere")


@pytest.mark.parametrize("seeds", [(), (0, 0), (-1,)])
def test_seeds_that_make_no_study(seeds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="seeds"):
        Study(lineages=(call("baseline", **QUICK),), seeds=seeds)
