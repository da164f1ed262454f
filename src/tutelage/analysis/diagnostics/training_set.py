"""Diagnostics on the training images: energy, sorted scores, second choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage.analysis.diagnostics.records import Diagnosis, PooledRecord, SeedRecord
from tutelage.analysis.diagnostics.selection import class_names, missing, stored_labels, stored_logits
from tutelage.analysis.results import GenerationResult
from tutelage.evaluation import accuracy
from tutelage.evaluation.scores import concentration, quantiles, second_choices, sorted_scores
from tutelage.evaluation.semantics import superclass_share

MOST_FREQUENT = 3
"""How many pairs of classes :attr:`SecondChoicesRecord.frequent` holds at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyRecord(SeedRecord):
    """The mean scores of one model on its training images, after the last epoch.

    ``label`` is the score of the labelled class, and ``predicted`` its value at the optimum of the objective, None
    without a closed form. ``best`` is the highest score, ``second_to_fifth`` the sum of the next four, and ``others``
    the sum of the rest.

    Units: all in ``[0, 1]``.
    """

    predicted: float | None
    label: float
    best: float
    second_to_fifth: float
    others: float

    @property
    def difference(self) -> float | None:
        """The score of the labelled class, measured minus predicted."""
        return None if self.predicted is None else self.label - self.predicted


@dataclass(frozen=True, slots=True, kw_only=True)
class RankScores:
    """The distribution of the ``rank``-th highest score (from 1): mean, and 5 %, 50 % and 95 % quantiles."""

    rank: int
    mean: float
    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoresRecord(PooledRecord):
    """The sorted scores of one generation on its training images, not augmented, after the last epoch.

    ``top1`` is the accuracy by seed. Of the labelled class's score there are the mean, the 5 % quantile and the
    median. ``ranks`` holds the ten highest scores (fewer with fewer classes).

    Units: all in ``[0, 1]``.
    """

    top1: Mapping[int, float]
    label_mean: float
    label_low: float
    label_median: float
    ranks: tuple[RankScores, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondChoice:
    """How often the class ``second`` has the second highest score on images of the class ``true``.

    Units: ``share`` is of the images of the true class, in ``[0, 1]``.
    """

    true: str
    second: str
    images: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondChoicesRecord(PooledRecord):
    """Which classes come second on the training images, not augmented, after the last epoch.

    ``label_second`` is the share of images whose own class comes second; ``most_frequent`` the share whose second
    choice is the most frequent one of their class. Of the second choices of another class, ``in_superclass`` is the
    share within the label's superclass, and ``by_chance`` the share if all other classes were equally likely; None
    without superclasses. ``pairs`` are all that occur, ``frequent`` the most frequent pairs of two classes;
    ``classes`` are the names of all classes in their order.

    Units: shares in ``[0, 1]``.
    """

    classes: tuple[str, ...]
    label_second: float
    most_frequent: float
    in_superclass: float | None
    by_chance: float | None
    pairs: tuple[SecondChoice, ...]
    frequent: tuple[SecondChoice, ...]


def measure_energy(generations: Sequence[GenerationResult]) -> Diagnosis[EnergyRecord]:
    """Compare the labelled class's score that the closed form predicts with the one on the training images."""
    records = []
    for generation in generations:
        for seed, measures in generation.train().items():
            scores = measures.energy
            records.append(
                EnergyRecord(
                    arm=generation.arm,
                    generation=generation.name,
                    place=generation.place,
                    seed=seed,
                    predicted=generation.expected,
                    label=measures.primary,
                    best=scores[0],
                    second_to_fifth=sum(scores[1:5]),
                    others=max(0.0, 1.0 - sum(scores[:5])),
                )
            )
    return Diagnosis(records=tuple(records))


def measure_scores(generations: Sequence[GenerationResult]) -> Diagnosis[ScoresRecord]:
    """Measure the distribution of the sorted scores on the training images."""
    records, lacking = [], []
    for generation in generations:
        logits, labels = stored_logits(generation), stored_labels(generation)
        if not logits or labels is None:
            lacking.append(missing(generation, "logits not stored"))
            continue
        highest = torch.cat([sorted_scores(each) for each in logits.values()])
        labelled = torch.cat([_label_scores(each, labels.labels) for each in logits.values()])
        label_low, label_median = quantiles(labelled, [0.05, 0.5])
        records.append(
            ScoresRecord(
                arm=generation.arm,
                generation=generation.name,
                place=generation.place,
                seeds=tuple(logits),
                top1={seed: accuracy(each, labels.labels) for seed, each in logits.items()},
                label_mean=labelled.mean().item(),
                label_low=label_low,
                label_median=label_median,
                ranks=tuple(_rank_scores(rank, values) for rank, values in enumerate(highest.T, 1)),
            )
        )
    return Diagnosis(records=tuple(records), missing=tuple(lacking))


def measure_second_choices(generations: Sequence[GenerationResult]) -> Diagnosis[SecondChoicesRecord]:
    """Count which class comes second on the training images, by true class."""
    records, lacking = [], []
    for generation in generations:
        logits, labels = stored_logits(generation), stored_labels(generation)
        if not logits or labels is None:
            lacking.append(missing(generation, "logits not stored"))
            continue
        counts = torch.stack([second_choices(each, labels.labels) for each in logits.values()]).sum(0)
        classes = class_names(generation)
        pairs = _pairs(counts, classes)
        if labels.superclasses is None:
            lacking.append(missing(generation, "no superclasses"))
        within = None if labels.superclasses is None else superclass_share(counts, labels.superclasses)
        others = [pair for pair in pairs if pair.true != pair.second]
        records.append(
            SecondChoicesRecord(
                arm=generation.arm,
                generation=generation.name,
                place=generation.place,
                seeds=tuple(logits),
                classes=classes,
                label_second=counts.diag().sum().item() / counts.sum().item(),
                most_frequent=concentration(counts),
                in_superclass=None if within is None else within[0],
                by_chance=None if within is None else within[1],
                pairs=pairs,
                frequent=tuple(sorted(others, key=lambda pair: -pair.share)[:MOST_FREQUENT]),
            )
        )
    return Diagnosis(records=tuple(records), missing=tuple(lacking))


def _rank_scores(rank: int, values: Tensor) -> RankScores:
    low, median, high = quantiles(values, [0.05, 0.5, 0.95])
    return RankScores(rank=rank, mean=values.mean().item(), low=low, median=median, high=high)


def _label_scores(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.double().softmax(1).gather(1, labels[:, None])[:, 0]


def _pairs(counts: Tensor, names: Sequence[str]) -> tuple[SecondChoice, ...]:
    """The pairs of classes that occur, by true class and second choice."""
    shares = counts.double() / counts.sum(1, keepdim=True).clamp_min(1)
    return tuple(
        SecondChoice(
            true=names[true],
            second=names[second],
            images=int(counts[true, second]),
            share=shares[true, second].item(),
        )
        for true, second in counts.nonzero().tolist()
    )
