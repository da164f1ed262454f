"""Diagnostics of teachers' targets on the training images: what is wrong, what changes, at which temperatures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage.analysis.diagnostics.distillation import check_same_images, teacher_logits
from tutelage.analysis.diagnostics.records import Diagnosis, GenerationRecord, PooledRecord
from tutelage.analysis.diagnostics.selection import class_names, finished_models, missing, stored_labels
from tutelage.analysis.results import GenerationResult
from tutelage.analysis.training_logits import training_logits
from tutelage.evaluation.scores import quantiles
from tutelage.evaluation.targets import TermTargets, class_means, term_targets, wrong_targets
from tutelage.lineage.addresses import generation_seed

CHANGED = 1e-9
"""A target counts as changed if more mass than this has moved; rounding moves less."""
MOST_WRONG = 3
"""How many classes :attr:`TargetsRecord.most_wrong` holds at most."""
SHARES = tuple(part / 20 for part in range(21))
"""The shares of images at which quantiles of temperature are computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTargets:
    """The targets of the training images of one class, as means over the seeds.

    ``wrong`` is the share of images for which the teacher predicts another class, ``changed`` the share whose target
    the objective changes, ``moved`` the mass it moves; None where the objective's terms are not analysed.

    Units: in ``[0, 1]``.
    """

    name: str
    wrong: float
    changed: float | None
    moved: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetsRecord(GenerationRecord):
    """The targets that one matching term makes of the teacher's predictions for the training images.

    ``term`` is its name and ``target`` the formula of its target; both are None for an objective without a matching
    term. By seed: the share of images that the teacher gets ``wrong``, the share whose target is ``changed``, the
    mean mass ``moved``, and ``moved_if_changed``, its mean over the changed targets alone. ``classes`` are those with
    training images, ``most_wrong`` the ones with the most wrong targets.

    Units: in ``[0, 1]``.
    """

    teachers: tuple[str, ...]
    term: str | None
    target: str | None
    wrong: Mapping[int, float]
    changed: Mapping[int, float]
    moved: Mapping[int, float]
    moved_if_changed: Mapping[int, float]
    classes: tuple[ClassTargets, ...]
    most_wrong: tuple[ClassTargets, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TemperaturesRecord(PooledRecord):
    """How the temperatures of single training images are distributed, for one matching term.

    They are those of the finished student, in the batches of its last epoch. ``quantiles`` are by the shares in
    :data:`SHARES`; ``at_floor`` is the share of images with the lowest temperature allowed, None without one.
    """

    term: str
    mean: float
    at_floor: float | None
    quantiles: Mapping[float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _SeedTargets:
    """At one seed: the training labels, which of the teacher's targets are wrong, and the targets by term."""

    labels: Tensor
    wrong: Tensor
    terms: tuple[TermTargets, ...]


def measure_targets(
    generations: Sequence[GenerationResult],
) -> tuple[Diagnosis[TargetsRecord], Diagnosis[TemperaturesRecord]]:
    """Measure how many targets of teachers are wrong, how objectives change them, and the temperatures of images."""
    records: list[TargetsRecord] = []
    temperatures: list[TemperaturesRecord] = []
    lacking, constant = [], []
    for generation in generations:
        if not generation.teachers:
            lacking.append(missing(generation, "no teacher"))
            continue
        by_seed = _targets_by_seed(generation, generations)
        if not by_seed:
            lacking.append(missing(generation, "logits not stored"))
            continue
        records += _targets_records(generation, by_seed)
        own = _temperatures_records(generation, by_seed)
        temperatures += own
        if not own:
            constant.append(missing(generation, "one temperature"))
    return (
        Diagnosis(records=tuple(records), missing=tuple(lacking)),
        Diagnosis(records=tuple(temperatures), missing=(*constant, *lacking)),
    )


def _targets_by_seed(
    generation: GenerationResult, generations: Sequence[GenerationResult]
) -> dict[int, _SeedTargets]:
    """The targets at each seed for which the logits of teachers and student are stored."""
    labels, schedule = stored_labels(generation), generation.generation.schedule
    by_seed: dict[int, _SeedTargets] = {}
    for seed, model in finished_models(generation).items():
        teacher = teacher_logits(generation, generations, seed, training_logits)
        student = training_logits(model)
        if labels is None or teacher is None or student is None:
            continue
        check_same_images(generation, teacher, student)
        terms = term_targets(
            generation.generation.objective,
            student,
            teacher,
            labels.labels,
            batch_size=schedule.batch_size,
            seed=generation_seed(seed, generation.place),
            epoch=schedule.epochs - 1,
        )
        wrong = wrong_targets(teacher, labels.labels)
        by_seed[seed] = _SeedTargets(labels=labels.labels, wrong=wrong, terms=tuple(terms))
    return by_seed


def _targets_records(generation: GenerationResult, by_seed: Mapping[int, _SeedTargets]) -> list[TargetsRecord]:
    """One record per matching term, or one without a term where the objective has none."""
    names = class_names(generation)
    count = len(next(iter(by_seed.values())).terms)
    wrong = _by_class({seed: each.wrong for seed, each in by_seed.items()}, by_seed, len(names))
    if count == 0:
        return [_targets_record(generation, by_seed, None, names, wrong)]
    return [_targets_record(generation, by_seed, number, names, wrong) for number in range(count)]


def _targets_record(
    generation: GenerationResult,
    by_seed: Mapping[int, _SeedTargets],
    number: int | None,
    names: Sequence[str],
    wrong: Sequence[float],
) -> TargetsRecord:
    """The record of the term of this number; ``wrong`` is the share of wrong targets by class."""
    terms = {} if number is None else {seed: each.terms[number] for seed, each in by_seed.items()}
    first = next(iter(terms.values()), None)
    changes = {seed: term.moved > CHANGED for seed, term in terms.items()}
    changed: Sequence[float | None] = [None] * len(names)
    moved: Sequence[float | None] = [None] * len(names)
    if terms:
        changed = _by_class(changes, by_seed, len(names))
        moved = _by_class({seed: term.moved for seed, term in terms.items()}, by_seed, len(names))
    classes = [
        ClassTargets(name=name, wrong=wrong[k], changed=changed[k], moved=moved[k])
        for k, name in enumerate(names)
        if not math.isnan(wrong[k])  # a class without training images
    ]
    by_wrong = sorted((one for one in classes if one.wrong > 0), key=lambda one: -one.wrong)
    return TargetsRecord(
        arm=generation.arm,
        generation=generation.name,
        place=generation.place,
        teachers=generation.teachers,
        term=None if first is None else first.term,
        target=None if first is None else first.formula,
        wrong={seed: each.wrong.double().mean().item() for seed, each in by_seed.items()},
        changed={seed: change.double().mean().item() for seed, change in changes.items()},
        moved={seed: term.moved.mean().item() for seed, term in terms.items()},
        moved_if_changed={
            seed: term.moved[changes[seed]].mean().item() for seed, term in terms.items() if changes[seed].any()
        },
        classes=tuple(classes),
        most_wrong=tuple(by_wrong[:MOST_WRONG]),
    )


def _temperatures_records(
    generation: GenerationResult, by_seed: Mapping[int, _SeedTargets]
) -> list[TemperaturesRecord]:
    """One record per matching term in which the images have temperatures of their own."""
    records = []
    for number in range(len(next(iter(by_seed.values())).terms)):
        terms = [each.terms[number] for each in by_seed.values()]
        values = [term.temperature for term in terms if term.temperature is not None]
        if not values:
            continue
        pooled, floor = torch.cat(values), terms[0].floor
        records.append(
            TemperaturesRecord(
                arm=generation.arm,
                generation=generation.name,
                place=generation.place,
                seeds=tuple(by_seed),
                term=terms[0].term,
                mean=pooled.mean().item(),
                at_floor=None if floor is None else (pooled <= floor).double().mean().item(),
                quantiles=dict(zip(SHARES, quantiles(pooled, SHARES), strict=True)),
            )
        )
    return records


def _by_class(values: Mapping[int, Tensor], by_seed: Mapping[int, _SeedTargets], num_classes: int) -> list[float]:
    """The mean of each class over the seeds; NaN for a class without training images."""
    means = [class_means(each, by_seed[seed].labels, num_classes) for seed, each in values.items()]
    return list(torch.stack(means).mean(0).tolist())
