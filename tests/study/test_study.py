"""Studies: a failure affects nothing else, shared models are trained once, the numbers are those of the models."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import pytest
import torch
from tests.events import kind

from tutelage.analysis import load_results
from tutelage.evaluation import accuracy, ensemble
from tutelage.lineage import Finished, models_of
from tutelage.recipes import call
from tutelage.report.generations import generations_table
from tutelage.study import Event, Execution, Failed, Study, load_study, run, studies
from tutelage.study.files import StudyRecord

MACHINE = Execution(device="cpu", precision="fp32", threads=1)
QUICK = {"train_size": 20, "epochs": 2}


def finish(study: Study, runs: Path, machine: Execution = MACHINE) -> list[Event]:
    return list(run(study, runs=runs, execution=machine))


def test_the_table_shows_the_models_numbers(tmp_path: Path) -> None:
    study = Study(lineages=(call("tolerant", generations=1, **QUICK),), seeds=(3, 5))
    finish(study, tmp_path)
    results = load_results(study.name, tmp_path)
    record = load_study(study.name, tmp_path)
    patriarch, first = results.generations
    assert [patriarch.expected, first.expected] == pytest.approx([0.6, 0.76])
    by_hand = []
    for seed in (3, 5):
        models = models_of(study.lineages[0], seed, record.fingerprints[0], "fp32", tmp_path)
        logits = [model.predictions()["test"] for model in models]
        labels = models[0].predictions()["test_labels"]
        by_hand.append((accuracy(logits[1], labels), accuracy(ensemble(logits), labels)))
    assert [measures.top1 for measures in first.test().values()] == [single for single, _ in by_hand]
    assert [measures.top1 for measures in first.ensemble().values()] == [combined for _, combined in by_hand]
    cells = generations_table(results).column("test top-1")
    values = [100 * single for single, _ in by_hand]
    assert cells[1].text == f"{statistics.fmean(values):.2f} ± {statistics.stdev(values):.2f}"


def test_one_seed_shows_no_spread(tmp_path: Path) -> None:
    study = Study(lineages=(call("baseline", **QUICK),))
    finish(study, tmp_path)
    table = generations_table(load_results(study.name, tmp_path))
    assert "±" not in "".join(cell.text for row in table.rows for cell in row)
    assert "one seed (no spread)" in table.title


def test_arms_share_their_generations(tmp_path: Path) -> None:
    study = Study(lineages=(call("baseline", **QUICK), call("born_again", generations=1, **QUICK)))
    phases = [kind(event) for event in finish(study, tmp_path) if isinstance(event, Finished)]
    assert phases == ["finished", "stored", "finished"]


class FailsForOneSeed(torch.nn.Module):
    """A network whose output is NaN when it is built from an odd seed."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Linear(64, 10)
        self.poison = float("nan") if torch.initial_seed() % 2 else 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.flatten(1)) + self.poison


@pytest.mark.fault(37)
def test_a_failed_seed_does_not_affect_the_others(tmp_path: Path) -> None:
    lineage = call("baseline", model="tests.study.test_study:FailsForOneSeed", **QUICK)
    study = Study(lineages=(lineage,), seeds=tuple(range(6)))
    events = finish(study, tmp_path)
    failed = {event.seed for event in events if isinstance(event, Failed)}
    finished = {event.seed for event in events if isinstance(event, Finished)}
    assert failed
    assert finished
    assert failed | finished == set(range(6))
    assert all("not finite" in event.message for event in events if isinstance(event, Failed))
    results = load_results(study.name, tmp_path)
    (generation,) = results.generations
    assert len(generation.test()) == len(finished)
    assert generations_table(results).column("seeds")[0].text.startswith(f"{len(finished)} of 6")


def kills_its_process() -> torch.nn.Module:
    """A network whose construction kills its process, except the process of the tests."""
    if os.environ.get("PYTEST_CURRENT_TEST", "").count("processes") and os.getppid() == int(
        os.environ["PARENT_OF_SEEDS"]
    ):
        os._exit(9)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))


@pytest.mark.fault(37)
def test_seeds_in_processes_also_if_they_die(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parallel = Execution(device="cpu", precision="fp32", threads=1, processes=2)
    study = Study(lineages=(call("baseline", **QUICK),), seeds=(0, 1))
    finish(study, tmp_path / "one after the other")
    events = finish(study, tmp_path / "side by side", parallel)
    assert sorted(event.seed for event in events if isinstance(event, Finished)) == [0, 1]
    assert [row.test() for row in load_results(study.name, tmp_path / "one after the other").generations] == [
        row.test() for row in load_results(study.name, tmp_path / "side by side").generations
    ]
    monkeypatch.setenv("PARENT_OF_SEEDS", str(os.getpid()))
    fatal = Study(
        lineages=(call("baseline", model="tests.study.test_study:kills_its_process", **QUICK),), seeds=(0, 1)
    )
    events = finish(fatal, tmp_path, parallel)
    assert [event.message for event in events if isinstance(event, Failed)] == ["its process ended with code 9"] * 2


def test_studies_are_stored_and_listed(tmp_path: Path) -> None:
    study = Study(lineages=(call("baseline", **QUICK),), seeds=(1,))
    finish(study, tmp_path)
    assert studies(tmp_path) == [study.name]
    record = load_study(study.name, tmp_path)
    assert isinstance(record, StudyRecord)
    assert record.study == study
    with pytest.raises(ValueError, match=f"did you mean {study.name}"):
        load_study(study.name + "x", tmp_path)
    with pytest.raises(ValueError, match="has no runs yet"):
        load_study("x", tmp_path / "elsewhere")


@pytest.mark.parametrize("seeds", [(), (0, 0), (-1,)])
def test_invalid_seeds(seeds: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="seeds"):
        Study(lineages=(call("baseline", **QUICK),), seeds=seeds)
