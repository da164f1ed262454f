"""Training curves: means over the seeds of what the models recorded, thinned evenly, read once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report import made
from tutelage.analysis import Results, load_results
from tutelage.analysis.curves import score_distributions, training_curves
from tutelage.artifacts.model import Model
from tutelage.recipes.born_again import born_again
from tutelage.study import Study


@pytest.fixture
def results(tmp_path: Path) -> Results:
    lineages = (made.arm("plain", epochs=4), made.arm("chain", born_again, epochs=5, lr=0.2, generations=1))
    study = Study(lineages=lineages, seeds=(0, 1))
    name = made.write(study, tmp_path, lambda arm, place, seed: 0.5 + 0.2 * seed, without=[("plain", 1)])
    return load_results(name, tmp_path)


def test_points_are_means_over_the_seeds(results: Results) -> None:
    curves = training_curves(results)
    assert {curve.metric for curve in curves} == {"loss", "accuracy"}  # no holdout, and no watched test set
    accuracy = [curve for curve in curves if curve.metric == "accuracy"]
    assert [(curve.arm, curve.place, curve.last) for curve in accuracy] == [
        ("plain", 0, True),
        ("chain", 0, False),
        ("chain", 1, True),
    ]
    plain, first, _ = (curve.points for curve in accuracy)
    assert [(point.epoch, point.seeds) for point in plain] == [(1, 1), (2, 1), (3, 1), (4, 1)]
    assert (first[-1].epoch, first[-1].seeds) == (5, 2)
    assert (first[-1].low, first[-1].mean, first[-1].high) == pytest.approx((0.5, 0.6, 0.7))
    assert not any(curve.thinned for curve in curves)


def test_curves_share_the_points_of_their_metric(results: Results) -> None:
    curves = training_curves(results, ["loss"], points=9)
    assert [[point.epoch for point in curve.points] for curve in curves] == [[1, 3, 4], [1, 3, 5], [1, 3, 5]]
    assert all(curve.thinned for curve in curves)
    fewest = training_curves(results, ["loss"], points=1)
    assert [[point.epoch for point in curve.points] for curve in fewest] == [[1, 4], [1, 5], [1, 5]]


def test_each_model_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study(lineages=(made.arm("one"), made.arm("the same"), made.arm("other", lr=0.3)), seeds=(0, 1))
    made.write(study, tmp_path, lambda arm, place, seed: 0.5)
    read: list[str] = []
    metrics = Model.metrics

    def counting_metrics(model: Model) -> list[dict[str, float]]:
        read.append(model.address)
        return metrics(model)

    monkeypatch.setattr(Model, "metrics", counting_metrics)
    assert len(training_curves(load_results(study.name, tmp_path))) == 3 * 2
    assert len(read) == len(set(read)) == 4


def test_scores_are_means_over_the_finished_seeds(results: Results) -> None:
    distributions = score_distributions(results)
    assert [(each.arm, each.place, each.seeds) for each in distributions] == [
        ("plain", 0, 1),
        ("chain", 0, 2),
        ("chain", 1, 2),
    ]
    energies = [measures.energy for measures in results.generations[1].train().values()]
    assert distributions[1].scores == pytest.approx([(one + other) / 2 for one, other in zip(*energies, strict=True)])
