"""Arms compared: the numbers are those of the models, only what was finished is paired, and what failed is said."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy import stats

from tutelage.analysis import ArmResult, Comparison, Results, compare, compare_models, load_results
from tutelage.analysis.statistics import holm, mcnemar
from tutelage.evaluation import accuracy
from tutelage.lineage import Lineage, models_of
from tutelage.recipes import call
from tutelage.recipes.study_spec import named
from tutelage.report import as_csv, comparison_table, markdown, missing
from tutelage.study import Event, Execution, Failure, Study, load_study, run

MACHINE = Execution(device="cpu", precision="fp32", threads=1)
QUICK = {"train_size": 40, "epochs": 3}


def finish(study: Study, runs: Path, command: str = "") -> list[Event]:
    return list(run(study, runs=runs, machine=MACHINE, command=command))


def compared(study: Study, runs: Path) -> Comparison:
    return compare(load_results(study.name, runs))


def arm(name: str, recipe: str, **arguments: object) -> Lineage:
    return replace(call(recipe, **(QUICK | arguments)), name=name)


@pytest.fixture(scope="module")
def study() -> Study:
    arms = (
        arm("plain", "baseline"),
        arm("=smooth | *odd*", "label_smoothing", smoothing=0.2),
        arm("chain", "born_again", generations=1),
        arm("plain again", "baseline"),
        arm("taught", "distill", teacher=("resnet14",)),
    )
    return Study(lineages=arms, seeds=(0, 1, 2), reference="plain")


@pytest.fixture(scope="module")
def runs(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("compare")
    finish(study, folder, command="tutelage study --arm ...")
    return folder


def by_hand(study: Study, runs: Path, number: int, place: int = -1) -> list[float]:
    written = load_study(study.name, runs)
    found = []
    for seed in study.seeds:
        model = models_of(study.lineages[number], seed, written.fingerprints[number], "fp32", runs)[place]
        predictions = model.predictions()
        found.append(accuracy(predictions["test"], predictions["test_labels"]))
    return found


def test_every_number_is_that_of_the_models(study: Study, runs: Path) -> None:
    plain, smooth, chain, together, again, taught = compared(study, runs).standings
    reference = by_hand(study, runs, 0)
    p_values = []
    for standing, number in ((smooth, 1), (chain, 2), (taught, 4)):
        values = by_hand(study, runs, number)
        expected = stats.ttest_rel(values, reference)
        assert standing.top1 is not None
        assert standing.difference is not None
        assert standing.top1.mean == pytest.approx(sum(values) / 3)
        assert standing.difference.p == pytest.approx(expected.pvalue)
        assert standing.difference.low == pytest.approx(expected.confidence_interval().low)
        p_values.append(expected.pvalue)
    assert [s.corrected for s in (smooth, chain, taught)] == pytest.approx(holm(p_values))
    assert (plain.verdict, plain.difference) == ("reference", None)
    assert together.ensemble
    assert together.difference is not None
    assert together.corrected == together.difference.p  # the only ensemble: a resnet14 and its pupil are no chain
    assert [len(models) for models in together.models] == [2, 2, 2]
    assert again.verdict == "the reference's own models"


def test_another_reference_turns_the_sign(study: Study, runs: Path) -> None:
    results = load_results(study.name, runs)
    forward = compare(results).standings[1].difference
    backward = compare(results, "=smooth | *odd*").standings[0].difference
    assert forward is not None
    assert backward is not None
    assert (forward.mean, forward.p) == (pytest.approx(-backward.mean), pytest.approx(backward.p))
    with pytest.raises(ValueError, match="unknown reference 'chian': did you mean chain"):
        compare(results, "chian")


def cut(results: Results, arm: str, seeds: list[int], values: list[float]) -> Results:
    """Results in which one arm finished these seeds with these accuracies."""
    rows = [
        replace(row, seeds=seeds, test=[{**row.test[0], "top1": value} for value in values])
        if row.lineage == arm
        else row
        for row in results.rows
    ]
    return replace(results, rows=tuple(rows))


def test_only_seeds_that_both_arms_finished_are_paired(study: Study, runs: Path) -> None:
    results = cut(load_results(study.name, runs), "plain", [0, 2], [0.5, 0.6])
    results = cut(results, "=smooth | *odd*", [0, 1, 2], [0.6, 0.1, 0.8])
    smooth = compare(results).standings[1]
    assert smooth.common == (0, 2)
    assert smooth.difference is not None
    assert smooth.difference.mean == pytest.approx(0.15)  # (0.1 + 0.2) / 2, and seed 1 pulls nothing down
    assert smooth.top1 is not None
    assert smooth.top1.mean == pytest.approx(0.5)
    assert " over 2" in "".join(str(cell) for cell in comparison_table(compare(results)).columns[5].cells)


@pytest.mark.parametrize(
    ("seeds", "values", "verdict"),
    [
        ([0, 1, 2], [0.9001, 0.9, 0.9002], "better"),
        ([0, 1, 2], [0.1001, 0.1, 0.1002], "worse"),
        ([0, 1, 2], [0.9, 0.5, 0.1], "no difference shown at n = 3"),
        ([], [], "not finished"),
    ],
)
def test_verdicts(study: Study, runs: Path, seeds: list[int], values: list[float], verdict: str) -> None:
    results = cut(load_results(study.name, runs), "plain", [0, 1, 2], [0.5, 0.5002, 0.5001])
    assert compare(cut(results, "=smooth | *odd*", seeds, values)).standings[1].verdict == verdict


def test_the_reference_unfinished(study: Study, runs: Path) -> None:
    standings = compare(cut(load_results(study.name, runs), "plain", [], [])).standings
    assert [standing.verdict for standing in standings[:2]] == ["reference", "no seed in common with the reference"]


def test_one_seed_has_no_interval_and_says_so(tmp_path: Path) -> None:
    study = Study(lineages=(arm("a", "baseline"), arm("b", "label_smoothing")), seeds=(4,))
    finish(study, tmp_path)
    found = compared(study, tmp_path)
    (one,), (other,) = found.results.rows[0].models, found.results.rows[1].models
    p = compare_models(other, one).p
    assert found.standings[1].verdict == f"one seed: no interval; McNemar p = {p:.2g} for these two models"
    assert found.standings[1].corrected is None
    assert "±" not in markdown(found)
    assert "one seed (no interval)" in markdown(found)
    right = [(m.predictions()["test"].argmax(1) == m.predictions()["test_labels"]).tolist() for m in (other, one)]
    assert compare_models(other, one) == mcnemar(*right)


def test_models_of_different_images_are_not_compared(study: Study, runs: Path, tmp_path: Path) -> None:
    holdout = Study(lineages=(arm("a", "baseline", model="resnet8", data="digits"),), seeds=(0,))
    finish(holdout, tmp_path)
    model = load_results(holdout.name, tmp_path).rows[0].models[0]
    predictions = model.predictions()
    predictions["test_labels"] = predictions["test_labels"].roll(1)
    from tutelage import storage

    files = {name: (model.folder / name).read_bytes() for name in storage.read_manifest(model.folder)["files"]}
    storage.commit(model.folder, files | {"predictions.safetensors": storage.tensor_bytes(predictions)})
    with pytest.raises(ValueError, match="different test images"):
        compare_models(load_results(study.name, runs).rows[0].models[0], model)


def test_the_page_says_where_every_number_comes_from(study: Study, runs: Path) -> None:
    found = compared(study, runs)
    page = markdown(found)
    models = {model.address for row in found.results.rows if row.generation != "teacher" for model in row.models}
    assert [address for address in models if address not in page] == []
    assert "tutelage study --arm ..." in page
    assert "digits (fingerprint " in page
    assert f"torch: {torch.__version__}" in page
    assert r"=smooth \| \*odd\*" in page
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in table} == {5, 11}


def test_the_csv_has_all_digits(study: Study, runs: Path) -> None:
    found = compared(study, runs)
    lines = list(csv.DictReader(io.StringIO(as_csv(found))))
    assert [line["arm"] for line in lines] == ["plain", "'=smooth | *odd*", "chain", "chain", "plain again", "taught"]
    for line, standing in zip(lines, found.standings, strict=True):
        assert standing.top1 is not None
        assert float(line["top1"]) == standing.top1.mean
        assert (float(line["p_holm"]) if line["p_holm"] else None) == standing.corrected


class FailsForOneSeed(torch.nn.Module):
    """Built from an odd seed it puts out NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Linear(64, 10)
        self.poison = float("nan") if torch.initial_seed() % 2 else 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.flatten(1)) + self.poison


def test_an_arm_that_fails_leaves_the_other_arms_of_its_seed(tmp_path: Path) -> None:
    own = "tests.analysis.test_comparison:FailsForOneSeed"
    arms = (
        arm("fragile", "baseline", model=own),
        arm("sound", "baseline"),
        arm("built on it", "born_again", model=own, generations=1),
    )
    study = Study(lineages=arms, seeds=tuple(range(6)), reference="sound")
    events = finish(study, tmp_path)
    broken = {event.seed for event in events if event.phase == "failed" and event.lineage == "fragile"}
    assert 0 < len(broken) < 6
    assert {event.seed for event in events if event.phase == "finished" and event.lineage == "sound"} == set(range(6))
    heirs = {event.seed: event.text for event in events if event.phase == "failed" and event.lineage == "built on it"}
    assert {heirs[seed] for seed in broken} == {"it needs the generation that failed in fragile"}

    found = compared(study, tmp_path)
    fragile = found.standings[0]
    assert set(fragile.common) == set(range(6)) - broken
    assert len(missing(found)) == sum(event.phase == "failed" for event in events)
    assert any("fragile, seed" in line and "not finite" in line for line in missing(found))
    assert f"{6 - len(broken)} of 6" in markdown(found)
    assert "## What failed" in markdown(found)

    again = finish(study, tmp_path)
    assert not any(event.phase == "finished" for event in again)
    assert load_results(study.name, tmp_path).failures == found.results.failures


def test_the_reasons_of_the_run_before_are_forgotten(tmp_path: Path) -> None:
    from tutelage.study.spec import load_failures, write_failures

    failure = Failure(seed=1, arm="a", text="why")
    write_failures("name", [failure], tmp_path)
    assert load_failures("name", tmp_path) == (failure,)
    write_failures("name", [], tmp_path)
    assert load_failures("name", tmp_path) == ()
    assert load_failures("another", tmp_path) == ()


def test_arms_on_other_images_are_not_compared(study: Study, runs: Path) -> None:
    results = load_results(study.name, runs)
    first, second, *rest = study.lineages
    elsewhere = replace(second, data=replace(second.data, name="cifar10"))
    standings: tuple[ArmResult, ...] = compare(
        replace(results, study=replace(study, lineages=(first, elsewhere, *rest)))
    ).standings
    assert standings[1].verdict == "not compared: on cifar10"
    assert standings[1].difference is None


def test_arms_need_names_of_their_own() -> None:
    with pytest.raises(ValueError, match="two arms of a study are named 'baseline'"):
        Study(lineages=(call("baseline"), call("baseline", epochs=3)))
    assert len(Study(lineages=named([call("baseline"), call("baseline")], ["a", "b"])).lineages) == 2
