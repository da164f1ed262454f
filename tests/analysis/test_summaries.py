"""Summaries by generation: which there are, over which seeds, and the limits of their intervals."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report import made
from tutelage.analysis import load_results
from tutelage.analysis.statistics import summary
from tutelage.analysis.summaries import GenerationSummary, generation_summaries
from tutelage.recipes.born_again import born_again
from tutelage.recipes.distill import distill
from tutelage.study import Study


def of_arm(summaries: tuple[GenerationSummary, ...], arm: str) -> list[tuple[int, bool, int]]:
    return [(item.place, item.ensemble, item.summary.n) for item in summaries if item.arm == arm]


def test_every_generation_and_every_ensemble_of_equal_networks(tmp_path: Path) -> None:
    lineages = (
        made.arm("plain"),
        made.arm("chain", born_again, lr=0.2, generations=2),
        made.arm("distilled", distill, teacher=("resnet14",), lr=0.3),
    )
    study = Study(lineages=lineages, seeds=(0, 1, 2))
    name = made.write(study, tmp_path, lambda arm, place, seed: 0.8 + 0.01 * seed, without=[("chain", 1)])
    summaries = generation_summaries(load_results(name, tmp_path), "top1")
    assert of_arm(summaries, "plain") == [(0, False, 3)]
    singles = [(0, False, 2), (1, False, 2), (2, False, 2)]
    assert of_arm(summaries, "chain") == [*singles, (1, True, 2), (2, True, 2)]
    assert of_arm(summaries, "distilled") == [(0, False, 3), (1, False, 3)]  # two networks: no ensemble
    accuracies = [item.test.top1 for item in load_results(name, tmp_path).generations[0].seeds.values()]
    assert summaries[0].summary == summary(accuracies)


@pytest.mark.parametrize(("name", "highest"), [("top1", 1.0), ("ece", 1.0), ("nll", None)])
def test_an_interval_stays_within_the_range_of_the_measure(tmp_path: Path, name: str, highest: float | None) -> None:
    study = Study(lineages=(made.arm("plain"),), seeds=(0, 1))
    made.write(study, tmp_path, lambda arm, place, seed: 0.1 + 0.85 * seed)
    results = load_results(study.name, tmp_path)
    (item,) = generation_summaries(results, name)  # type: ignore[arg-type]
    unclipped = summary([float(getattr(measures, name)) for measures in results.generations[0].test().values()])
    assert unclipped.low is not None
    assert unclipped.low < 0
    assert item.summary.low == 0.0
    assert item.summary.high == (unclipped.high if highest is None else highest)
