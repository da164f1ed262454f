"""Arms compared: the numbers are those of the models, only finished seeds are paired, failures are reported."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy import stats

from tests.events import kind
from tutelage.analysis import ArmResult, Comparison, Results, compare, compare_models, load_results
from tutelage.analysis.statistics import holm, mcnemar
from tutelage.evaluation import accuracy
from tutelage.lineage import Finished, Lineage, models_of
from tutelage.recipes import call
from tutelage.recipes.study_spec import rename_lineages
from tutelage.report.comparison import comparison_csv, comparison_markdown, comparison_table, failures
from tutelage.study import Event, Execution, Failed, Failure, Study, load_study, run

MACHINE = Execution(device="cpu", precision="fp32", threads=1)
QUICK = {"train_size": 40, "epochs": 3}


def finish(study: Study, runs: Path, command: str = "") -> list[Event]:
    return list(run(study, runs=runs, execution=MACHINE, command=command))


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
        arm("distilled", "distill", teacher=("resnet14",)),
    )
    return Study(lineages=arms, seeds=(0, 1, 2), reference="plain")


@pytest.fixture(scope="module")
def runs(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("compare")
    finish(study, folder, command="tutelage study --arm ...")
    return folder


def by_hand(study: Study, runs: Path, number: int, place: int = -1) -> list[float]:
    record = load_study(study.name, runs)
    accuracies = []
    for seed in study.seeds:
        model = models_of(study.lineages[number], seed, record.fingerprints[number], "fp32", runs)[place]
        predictions = model.predictions()
        accuracies.append(accuracy(predictions["test"], predictions["test_labels"]))
    return accuracies


def test_every_number_is_that_of_the_models(study: Study, runs: Path) -> None:
    plain, smooth, chain, together, again, distilled = compared(study, runs).arms
    reference = by_hand(study, runs, 0)
    p_values = []
    for result, number in ((smooth, 1), (chain, 2), (distilled, 4)):
        values = by_hand(study, runs, number)
        expected = stats.ttest_rel(values, reference)
        assert result.top1 is not None
        assert result.difference is not None
        assert result.top1.mean == pytest.approx(sum(values) / 3)
        assert result.difference.p == pytest.approx(expected.pvalue)
        assert result.difference.low == pytest.approx(expected.confidence_interval().low)
        p_values.append(expected.pvalue)
    assert [s.corrected for s in (smooth, chain, distilled)] == pytest.approx(holm(p_values))
    assert (plain.verdict, plain.difference) == ("reference", None)
    assert together.ensemble
    assert together.difference is not None
    assert together.corrected == together.difference.p  # the only ensemble: a resnet14 and its student are not one
    assert [len(models) for models in together.models.values()] == [2, 2, 2]
    assert again.verdict == "same models"


def test_another_reference_flips_the_sign(study: Study, runs: Path) -> None:
    results = load_results(study.name, runs)
    forward = compare(results).arms[1].difference
    backward = compare(results, "=smooth | *odd*").arms[0].difference
    assert forward is not None
    assert backward is not None
    assert (forward.mean, forward.p) == (pytest.approx(-backward.mean), pytest.approx(backward.p))
    with pytest.raises(ValueError, match="unknown reference 'chian': did you mean chain"):
        compare(results, "chian")


def with_accuracies(results: Results, arm: str, seeds: list[int], values: list[float]) -> Results:
    """The results, but with these finished seeds and their accuracies for one arm."""
    generations = []
    for generation in results.generations:
        if generation.arm == arm:
            first = generation.seeds[0]
            changed = {
                seed: replace(first, model=generation.models[seed], test=replace(first.test, top1=value))
                for seed, value in zip(seeds, values, strict=True)
            }
            generation = replace(generation, seeds=changed)
        generations.append(generation)
    return replace(results, generations=tuple(generations))


def test_only_seeds_that_both_arms_finished_are_paired(study: Study, runs: Path) -> None:
    results = with_accuracies(load_results(study.name, runs), "plain", [0, 2], [0.5, 0.6])
    results = with_accuracies(results, "=smooth | *odd*", [0, 1, 2], [0.6, 0.1, 0.8])
    smooth = compare(results).arms[1]
    assert tuple(smooth.differences) == (0, 2)
    assert smooth.difference is not None
    assert smooth.difference.mean == pytest.approx(0.15)  # (0.1 + 0.2) / 2; seed 1 does not count
    assert smooth.top1 is not None
    assert smooth.top1.mean == pytest.approx(0.5)
    assert " over 2" in "".join(cell.text for cell in comparison_table(compare(results)).column("difference"))


@pytest.mark.parametrize(
    ("seeds", "values", "verdict"),
    [
        ([0, 1, 2], [0.9001, 0.9, 0.9002], "better"),
        ([0, 1, 2], [0.1001, 0.1, 0.1002], "worse"),
        ([0, 1, 2], [0.9, 0.5, 0.1], "not shown"),
        ([], [], "unfinished"),
    ],
)
def test_verdicts(study: Study, runs: Path, seeds: list[int], values: list[float], verdict: str) -> None:
    results = with_accuracies(load_results(study.name, runs), "plain", [0, 1, 2], [0.5, 0.5002, 0.5001])
    assert compare(with_accuracies(results, "=smooth | *odd*", seeds, values)).arms[1].verdict == verdict


def test_the_reference_unfinished(study: Study, runs: Path) -> None:
    arm_results = compare(with_accuracies(load_results(study.name, runs), "plain", [], [])).arms
    assert [result.verdict for result in arm_results[:2]] == ["reference", "no common seed"]


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    study = Study(lineages=(arm("a", "baseline"), arm("b", "label_smoothing")), seeds=(4,))
    finish(study, tmp_path)
    comparison = compared(study, tmp_path)
    first, second = (generation.models[4] for generation in comparison.results.generations)
    p = compare_models(second, first).p
    assert comparison.arms[1].verdict == "one seed"
    text = f"one seed: no interval; McNemar p = {p:.2g} for these two models"
    assert comparison_table(comparison).column("verdict")[1].text == text
    assert comparison.arms[1].corrected is None
    assert "±" not in comparison_markdown(comparison)
    assert "one seed (no interval)" in comparison_markdown(comparison)
    right = [(m.predictions()["test"].argmax(1) == m.predictions()["test_labels"]).tolist() for m in (second, first)]
    assert compare_models(second, first) == mcnemar(*right)


def test_models_of_different_images_are_not_compared(study: Study, runs: Path, tmp_path: Path) -> None:
    holdout = Study(lineages=(arm("a", "baseline", model="resnet8", data="digits"),), seeds=(0,))
    finish(holdout, tmp_path)
    model = load_results(holdout.name, tmp_path).generations[0].models[0]
    predictions = model.predictions()
    predictions["test_labels"] = predictions["test_labels"].roll(1)
    from tutelage import storage

    files = {name: (model.folder / name).read_bytes() for name in storage.read_manifest(model.folder)["files"]}
    storage.commit(model.folder, files | {"predictions.safetensors": storage.tensor_bytes(predictions)})
    with pytest.raises(ValueError, match="different test images"):
        compare_models(load_results(study.name, runs).generations[0].models[0], model)


def test_the_markdown_states_where_every_number_comes_from(study: Study, runs: Path) -> None:
    comparison = compared(study, runs)
    page = comparison_markdown(comparison)
    models = {
        model.address
        for generation in comparison.results.generations
        if generation.name != "teacher"
        for model in generation.models.values()
    }
    assert [address for address in models if address not in page] == []
    assert "tutelage study --arm ..." in page
    assert "digits (fingerprint " in page
    assert f"torch: {torch.__version__}" in page
    assert r"=smooth \| \*odd\*" in page
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in table} == {5, 11}


def test_the_csv_has_all_digits(study: Study, runs: Path) -> None:
    comparison = compared(study, runs)
    lines = list(csv.DictReader(io.StringIO(comparison_csv(comparison))))
    assert [line["arm"] for line in lines] == [
        "plain",
        "'=smooth | *odd*",
        "chain",
        "chain",
        "plain again",
        "distilled",
    ]
    for line, result in zip(lines, comparison.arms, strict=True):
        assert result.top1 is not None
        assert float(line["top1"]) == result.top1.mean
        assert (float(line["p_holm"]) if line["p_holm"] else None) == result.corrected


class FailsForOneSeed(torch.nn.Module):
    """A network whose output is NaN when it is built from an odd seed."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Linear(64, 10)
        self.poison = float("nan") if torch.initial_seed() % 2 else 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x.flatten(1)) + self.poison


def test_a_failed_arm_does_not_affect_the_other_arms_of_its_seed(tmp_path: Path) -> None:
    own = "tests.analysis.test_comparison:FailsForOneSeed"
    arms = (
        arm("fragile", "baseline", model=own),
        arm("sound", "baseline"),
        arm("built on it", "born_again", model=own, generations=1),
    )
    study = Study(lineages=arms, seeds=tuple(range(6)), reference="sound")
    events = finish(study, tmp_path)
    failed_seeds = {event.seed for event in events if isinstance(event, Failed) and event.arm == "fragile"}
    assert 0 < len(failed_seeds) < 6
    assert {event.seed for event in events if isinstance(event, Finished) and event.arm == "sound"} == set(range(6))
    heirs = {
        event.seed: event.message for event in events if isinstance(event, Failed) and event.arm == "built on it"
    }
    assert {heirs[seed] for seed in failed_seeds} == {"it needs the generation that failed in fragile"}

    comparison = compared(study, tmp_path)
    fragile = comparison.arms[0]
    assert set(fragile.differences) == set(range(6)) - failed_seeds
    assert len(failures(comparison)) == sum(isinstance(event, Failed) for event in events)
    assert any("fragile, seed" in line and "not finite" in line for line in failures(comparison))
    assert f"{6 - len(failed_seeds)} of 6" in comparison_markdown(comparison)
    assert "## What failed" in comparison_markdown(comparison)

    again = finish(study, tmp_path)
    assert not any(kind(event) == "finished" for event in again)
    assert load_results(study.name, tmp_path).failures == comparison.results.failures


def test_failures_of_the_previous_run_are_dropped(tmp_path: Path) -> None:
    from tutelage.study.files import load_failures, write_failures

    failure = Failure(seed=1, arm="a", message="why")
    write_failures("name", [failure], tmp_path)
    assert load_failures("name", tmp_path) == (failure,)
    write_failures("name", [], tmp_path)
    assert load_failures("name", tmp_path) == ()
    assert load_failures("another", tmp_path) == ()


def test_arms_on_other_images_are_not_compared(study: Study, runs: Path) -> None:
    results = load_results(study.name, runs)
    first, second, *rest = study.lineages
    elsewhere = replace(second, data=replace(second.data, name="cifar10"))
    arm_results: tuple[ArmResult, ...] = compare(
        replace(results, study=replace(study, lineages=(first, elsewhere, *rest)))
    ).arms
    assert arm_results[1].verdict == "other data"
    assert arm_results[1].difference is None


def test_arms_need_names_of_their_own() -> None:
    with pytest.raises(ValueError, match="two arms of a study are named 'baseline'"):
        Study(lineages=(call("baseline"), call("baseline", epochs=3)))
    assert len(Study(lineages=rename_lineages([call("baseline"), call("baseline")], ["a", "b"])).lineages) == 2
