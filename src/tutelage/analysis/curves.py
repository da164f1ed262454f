"""What every epoch measured, over the seeds, and the sorted scores that training ends with."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tutelage.analysis.results import GenerationResult, Results

Metric = Literal["loss", "accuracy", "holdout/top1", "test/top1"]
METRICS: tuple[Metric, ...] = ("loss", "accuracy", "holdout/top1", "test/top1")

Epochs = dict[int, list[dict[str, float]]]
"""The metrics of an epoch, one entry per finished seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One metric of one epoch over the seeds: the mean, the lowest and the highest value."""

    epoch: int
    seeds: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCurve:
    """One metric of one generation, epoch by epoch.

    ``last`` marks the last generation of its arm. ``thinned`` says that some epochs have no point.
    """

    metric: Metric
    arm: str
    generation: str
    place: int
    last: bool
    points: tuple[CurvePoint, ...]
    thinned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDistribution:
    """The sorted scores of one generation on its training images, from the best class down: means over the seeds."""

    arm: str
    generation: str
    place: int
    seeds: int
    scores: tuple[float, ...]


def training_curves(
    results: Results, metrics: Sequence[Metric] = METRICS, points: int = 4000
) -> tuple[TrainingCurve, ...]:
    """The training curves of all generations, metric by metric; about ``points`` points for each metric.

    A metric that no model recorded has no curve: accuracy on the test set is there only where the test set was
    watched.
    """
    places = {generation.arm: generation.place for generation in results.generations}  # of the last of each arm
    recorded = _epochs(results)
    curves: list[TrainingCurve] = []
    for metric in metrics:
        measured = {number: _epochs_with(metric, epochs) for number, epochs in enumerate(recorded)}
        measured = {number: epochs for number, epochs in measured.items() if epochs}
        for number, epochs in measured.items():
            generation = results.generations[number]
            selected = _thinned(epochs, max(2, points // len(measured)))
            curves.append(
                TrainingCurve(
                    metric=metric,
                    arm=generation.arm,
                    generation=generation.name,
                    place=generation.place,
                    last=generation.place == places[generation.arm],
                    points=tuple(_point(metric, epoch, recorded[number]) for epoch in selected),
                    thinned=len(selected) < len(epochs),
                )
            )
    return tuple(curves)


def score_distributions(results: Results) -> tuple[ScoreDistribution, ...]:
    """The mean sorted scores of every generation that has a finished seed.

    Source: arXiv 1805.05551 v1, Figure 1, where they are called energy.
    """
    return tuple(_distribution(generation) for generation in results.generations if generation.seeds)


def _distribution(generation: GenerationResult) -> ScoreDistribution:
    energies = [measures.energy for measures in generation.train().values()]
    return ScoreDistribution(
        arm=generation.arm,
        generation=generation.name,
        place=generation.place,
        seeds=len(energies),
        scores=tuple(statistics.fmean(scores) for scores in zip(*energies, strict=True)),
    )


def _epochs(results: Results) -> list[Epochs]:
    """The metrics of each generation by epoch; a model that several arms share is read once."""
    files: dict[str, list[dict[str, float]]] = {}
    recorded: list[Epochs] = []
    for generation in results.generations:
        epochs: Epochs = {}
        for result in generation.seeds.values():
            address = result.model.address
            if address not in files:
                files[address] = result.model.metrics()
            for line in files[address]:
                epochs.setdefault(int(line["epoch"]), []).append(line)
        recorded.append(epochs)
    return recorded


def _epochs_with(metric: Metric, epochs: Epochs) -> list[int]:
    """The epochs in which a metric was measured at some seed, in order."""
    return sorted(epoch for epoch, lines in epochs.items() if any(metric in line for line in lines))


def _point(metric: Metric, epoch: int, epochs: Epochs) -> CurvePoint:
    values = [line[metric] for line in epochs[epoch] if metric in line]
    return CurvePoint(
        epoch=epoch, seeds=len(values), mean=statistics.fmean(values), low=min(values), high=max(values)
    )


def _thinned(epochs: list[int], count: int) -> list[int]:
    """At most ``count`` of the epochs, evenly spread, the first and the last among them.

    >>> _thinned([1, 2, 3, 4, 5], 3), _thinned([1, 2], 5)
    ([1, 3, 5], [1, 2])
    """
    if len(epochs) <= count:
        return epochs
    return [epochs[round(number * (len(epochs) - 1) / (count - 1))] for number in range(count)]
