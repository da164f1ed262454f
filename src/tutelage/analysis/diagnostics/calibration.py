"""Calibration on the test images, before and after temperature scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage.analysis.diagnostics.records import Diagnosis, PooledRecord, SeedRecord
from tutelage.analysis.diagnostics.selection import finished_models, missing
from tutelage.analysis.results import GenerationResult
from tutelage.evaluation import accuracy, ece, nll
from tutelage.evaluation.calibration import FOLDS, Reliability, cross_fit, fit_temperature, reliability

__all__ = ["BINS", "FOLDS", "CalibrationRecord", "ReliabilityRecord", "measure_calibration"]

BINS = 15
"""The number of bins of confidence, for the calibration error and the reliability diagram."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRecord(SeedRecord):
    """The calibration of one model on the test images, before and after temperature scaling.

    ``overconfidence`` is the mean confidence minus the accuracy. ``temperature``, ``nll_scaled`` and ``ece_scaled``
    are None where no temperature fits. The temperature is fitted on ``holdout`` images; where ``holdout`` is None, it
    is cross-fitted on the test images in :data:`FOLDS` folds, and ``temperature`` is the median.

    Units: NLL in nats, the others shares in ``[-1, 1]``.
    """

    nll: float
    ece: float
    overconfidence: float
    temperature: float | None
    nll_scaled: float | None
    ece_scaled: float | None
    holdout: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityRecord(PooledRecord):
    """One bin of the reliability diagram of a generation on the test images; empty bins have no record.

    ``bin`` counts from 0, and holds the images with confidence in ``(low, high]``. ``scaled`` says whether the logits
    are divided by the fitted temperature.

    Units: ``confidence`` (the mean) and ``accuracy`` in ``[0, 1]``.
    """

    scaled: bool
    bin: int
    low: float
    high: float
    images: int
    confidence: float
    accuracy: float

    @property
    def gap(self) -> float:
        """The accuracy minus the confidence: negative where the network is overconfident."""
        return self.accuracy - self.confidence


def measure_calibration(
    generations: Sequence[GenerationResult],
) -> tuple[Diagnosis[CalibrationRecord], Diagnosis[ReliabilityRecord]]:
    """Measure calibration and reliability diagrams, before and after temperature scaling."""
    records, lacking, bins = [], [], []
    for generation in generations:
        before: dict[int, Reliability] = {}
        after: dict[int, Reliability] = {}
        for seed, model in finished_models(generation).items():
            predictions = model.predictions()
            logits, labels = predictions["test"].double(), predictions["test_labels"]
            temperatures = _temperatures(predictions)
            scaled = None if temperatures is None else logits / temperatures[:, None]
            records.append(
                CalibrationRecord(
                    arm=generation.arm,
                    generation=generation.name,
                    place=generation.place,
                    seed=seed,
                    nll=nll(logits, labels),
                    ece=ece(logits, labels, BINS),
                    overconfidence=logits.softmax(1).max(1).values.mean().item() - accuracy(logits, labels),
                    temperature=None if temperatures is None else temperatures.median().item(),
                    nll_scaled=None if scaled is None else nll(scaled, labels),
                    ece_scaled=None if scaled is None else ece(scaled, labels, BINS),
                    holdout=len(predictions["holdout_labels"]) if "holdout" in predictions else None,
                )
            )
            before[seed] = reliability(logits, labels, BINS)
            if scaled is None:
                lacking.append(missing(generation, "no temperature fits", seed))
            else:
                after[seed] = reliability(scaled, labels, BINS)
        bins += [*_bins(generation, before, scaled=False), *_bins(generation, after, scaled=True)]
    return Diagnosis(records=tuple(records), missing=tuple(lacking)), Diagnosis(records=tuple(bins))


def _temperatures(predictions: Mapping[str, Tensor]) -> Tensor | None:
    """The temperature of each test image, fitted on the holdout or cross-fitted; None where none fits."""
    logits, labels = predictions["test"], predictions["test_labels"]
    if "holdout" not in predictions:
        return cross_fit(logits, labels)
    temperature = fit_temperature(predictions["holdout"], predictions["holdout_labels"])
    return None if temperature is None else torch.full((len(labels),), temperature, dtype=torch.float64)


def _bins(
    generation: GenerationResult, diagrams: Mapping[int, Reliability], *, scaled: bool
) -> list[ReliabilityRecord]:
    """The bins that hold images, over all seeds together."""
    if not diagrams:
        return []
    images = torch.stack([diagram.images for diagram in diagrams.values()])
    total = images.sum(0)

    def mean(values: list[Tensor]) -> list[float]:
        means: list[float] = ((torch.stack(values).nan_to_num() * images).sum(0) / total).tolist()
        return means

    confidence = mean([diagram.confidence for diagram in diagrams.values()])
    right = mean([diagram.accuracy for diagram in diagrams.values()])
    return [
        ReliabilityRecord(
            arm=generation.arm,
            generation=generation.name,
            place=generation.place,
            seeds=tuple(diagrams),
            scaled=scaled,
            bin=number,
            low=number / BINS,
            high=(number + 1) / BINS,
            images=count,
            confidence=confidence[number],
            accuracy=right[number],
        )
        for number, count in enumerate(total.tolist())
        if count
    ]
