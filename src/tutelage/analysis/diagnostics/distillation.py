"""Diagnostics of distillation: how far students agree with their teachers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from tutelage.analysis.diagnostics.records import Diagnosis, SeedRecord
from tutelage.analysis.diagnostics.selection import finished_models, missing
from tutelage.analysis.results import GenerationResult
from tutelage.artifacts.model import Model
from tutelage.evaluation import accuracy, ensemble
from tutelage.evaluation.agreement import agreement, divergence, logit_correlation


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementRecord(SeedRecord):
    """A student compared with its teacher on the test images.

    ``same`` is the share of images with the same predicted class, ``kl`` the mean divergence from teacher to student
    at temperature 1, ``correlation`` the mean correlation of the logits over the classes. Several ``teachers`` count
    as their ensemble.

    Units: shares in ``[0, 1]``, ``kl`` in nats, ``correlation`` in ``[-1, 1]``.
    """

    teachers: tuple[str, ...]
    same: float
    kl: float
    correlation: float
    teacher_top1: float
    top1: float


def teacher_logits(
    generation: GenerationResult,
    generations: Sequence[GenerationResult],
    seed: int,
    read: Callable[[Model], Tensor | None],
) -> Tensor | None:
    """The logits of a generation's teachers together at one seed, None where those of any are missing.

    ``read`` returns the logits of one model; ``generations`` are those to look for the teachers in.
    """
    chain = {other.place: other for other in generations if other.arm == generation.arm}
    members = []
    for place in generation.generation.teachers:
        teacher = chain.get(place)
        result = None if teacher is None else teacher.seeds.get(seed)
        logits = None if result is None else read(result.model)
        if logits is None:
            return None
        members.append(logits)
    return members[0] if len(members) == 1 else ensemble(members, generation.generation.teacher_shares)


def check_same_images(generation: GenerationResult, teacher: Tensor, student: Tensor) -> None:
    """Check that a generation and its teachers have logits of the same images and classes.

    Errors: ``ValueError`` naming the generation.
    """
    if teacher.shape != student.shape:
        shapes = f"{list(teacher.shape)} and {list(student.shape)}"
        raise ValueError(f"{generation.name} and its teachers have logits of different images: {shapes}")


def measure_agreement(generations: Sequence[GenerationResult]) -> Diagnosis[AgreementRecord]:
    """Measure how far each student agrees with its teacher on the test images."""
    records, lacking = [], []
    for generation in generations:
        if not generation.teachers:
            lacking.append(missing(generation, "no teacher"))
            continue
        compared = False
        for seed, model in finished_models(generation).items():
            teacher = teacher_logits(generation, generations, seed, lambda model: model.predictions()["test"])
            if teacher is None:
                continue
            compared = True
            predictions = model.predictions()
            student, labels = predictions["test"], predictions["test_labels"]
            check_same_images(generation, teacher, student)
            records.append(
                AgreementRecord(
                    arm=generation.arm,
                    generation=generation.name,
                    place=generation.place,
                    seed=seed,
                    teachers=generation.teachers,
                    same=agreement(teacher, student),
                    kl=divergence(teacher, student),
                    correlation=logit_correlation(teacher, student),
                    teacher_top1=accuracy(teacher, labels),
                    top1=accuracy(student, labels),
                )
            )
        if not compared:
            lacking.append(missing(generation, "teacher unfinished"))
    return Diagnosis(records=tuple(records), missing=tuple(lacking))
