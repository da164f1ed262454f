"""Diagnostics on the test images: accuracy over the generations, superclasses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage.analysis.diagnostics.records import Diagnosis, SeedRecord
from tutelage.analysis.diagnostics.selection import finished_models, missing, stored_labels
from tutelage.analysis.results import GenerationResult
from tutelage.evaluation import accuracy
from tutelage.evaluation.semantics import centre_distances, coarse_accuracy, superclass_share
from tutelage.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRecord(SeedRecord):
    """The test accuracy of one model, beside that of the baseline at the same seed.

    The baseline is the last generation of the study's reference arm: ``is_baseline`` marks it. ``baseline`` is None
    where a study has a single arm, for other data, and where the baseline is not finished at this seed.

    Units: shares in ``[0, 1]``.
    """

    top1: float
    baseline: float | None
    is_baseline: bool

    @property
    def difference(self) -> float | None:
        """The accuracy minus the baseline's; None for the baseline itself."""
        return None if self.baseline is None or self.is_baseline else self.top1 - self.baseline


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperclassRecord(SeedRecord):
    """How one model deals with superclasses on the test images.

    ``coarse_top1`` counts a prediction as right if its superclass is the label's. ``mistakes_within`` is the share of
    the mistakes within the label's superclass, ``by_chance`` that share if all other classes were equally likely;
    None without mistakes. ``dist_c`` and ``dist_s`` are the mean distances between the mean scores of classes of one
    superclass, and of superclasses, see :func:`tutelage.evaluation.semantics.centre_distances`; None without pairs.

    Units: shares in ``[0, 1]``, distances in ``[0, sqrt(2)]``.
    """

    top1: float
    coarse_top1: float
    mistakes_within: float | None
    by_chance: float | None
    dist_c: float | None
    dist_s: float | None


def measure_accuracy(generations: Sequence[GenerationResult], study: Study) -> Diagnosis[AccuracyRecord]:
    """Compare the accuracy of every model with that of the reference arm's last generation."""
    arms = [lineage.name for lineage in study.lineages]
    reference = (study.reference or arms[0]) if len(arms) > 1 else None
    chain = [generation for generation in generations if generation.arm == reference]
    data = {lineage.name: lineage.data.name for lineage in study.lineages}
    records = []
    for generation in generations:
        comparable = chain and data[generation.arm] == data[chain[-1].arm]
        baseline = chain[-1].test() if comparable else {}
        for seed, measures in generation.test().items():
            records.append(
                AccuracyRecord(
                    arm=generation.arm,
                    generation=generation.name,
                    place=generation.place,
                    seed=seed,
                    top1=measures.top1,
                    baseline=baseline[seed].top1 if seed in baseline else None,
                    is_baseline=bool(chain) and generation is chain[-1],
                )
            )
    return Diagnosis(records=tuple(records))


def measure_superclasses(generations: Sequence[GenerationResult]) -> Diagnosis[SuperclassRecord]:
    """Measure accuracy, mistakes and distances by superclass."""
    records, lacking = [], []
    for generation in generations:
        labels = stored_labels(generation)
        if labels is None:
            lacking.append(missing(generation, "labels not stored"))
        elif labels.superclasses is None:
            lacking.append(missing(generation, "no superclasses"))
        else:
            for seed, model in finished_models(generation).items():
                records.append(_superclasses(generation, seed, model.predictions(), labels.superclasses))
    return Diagnosis(records=tuple(records), missing=tuple(lacking))


def _superclasses(
    generation: GenerationResult, seed: int, predictions: Mapping[str, Tensor], superclasses: Tensor
) -> SuperclassRecord:
    logits, labels = predictions["test"], predictions["test_labels"]
    classes = logits.shape[1]
    confusions = torch.bincount(labels * classes + logits.argmax(1), minlength=classes**2).reshape(classes, classes)
    within = superclass_share(confusions, superclasses)
    dist_c, dist_s = centre_distances(logits.double().softmax(1), labels, superclasses)
    return SuperclassRecord(
        arm=generation.arm,
        generation=generation.name,
        place=generation.place,
        seed=seed,
        top1=accuracy(logits, labels),
        coarse_top1=coarse_accuracy(logits, labels, superclasses),
        mistakes_within=None if within is None else within[0],
        by_chance=None if within is None else within[1],
        dist_c=dist_c,
        dist_s=dist_s,
    )
