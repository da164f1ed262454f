"""The targets of a teacher: how many are wrong, and how an objective changes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from tutelage import functional
from tutelage.objective import Constant, Match, Objective, Ramp, Scaled, Signals, TeacherProbs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TermTargets:
    """The targets that one matching term makes of a teacher's predictions.

    ``formula`` is the target's. ``moved`` is the probability mass by which each sample's target differs from the
    teacher's own distribution at the same temperature, see :func:`mass_moved`. ``temperature`` is None where all
    samples share one; ``floor`` is the lowest temperature allowed, None without one.

    Shapes: ``moved`` and ``temperature`` float64 ``[N]``.
    """

    term: str
    formula: str
    moved: Tensor
    temperature: Tensor | None
    floor: float | None


@runtime_checkable
class _Floored(Protocol):
    """A temperature rule with a lowest temperature."""

    floor: float | None


def wrong_targets(teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the teacher's predicted class is not the label: bool ``[N]``.

    >>> wrong_targets(torch.tensor([[2.0, 1.0], [2.0, 1.0]]), torch.tensor([0, 1])).tolist()
    [False, True]

    Source: arXiv 1911.07471 ("incorrect soft targets").
    """
    return teacher_logits.argmax(1) != labels


def mass_moved(before: Tensor, after: Tensor) -> Tensor:
    """The probability mass that moves from some classes to others: float64 ``[N]``, in ``[0, 1]``.

    Formula: ``1/2 sum_k |q'(k) - q(k)|``, the total variation distance. A swap of two scores moves their difference.

    Shapes: both ``[N, K]``, distributions.

    >>> mass_moved(torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[0.25, 0.5, 0.25]])).tolist()
    [0.25]

    Source: ours, for what arXiv 1911.07471 (knowledge adjustment) does to a target.
    """
    return (after.double() - before.double()).abs().sum(1) / 2.0


def class_means(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """The mean of values ``[N]`` over the samples of each class: float64 ``[K]``, NaN for a class without samples.

    >>> class_means(torch.tensor([True, False, True]), torch.tensor([0, 0, 1]), num_classes=2).tolist()
    [0.5, 1.0]
    """
    sums = torch.zeros(num_classes, dtype=torch.float64).index_add_(0, labels, values.double())
    return sums / torch.bincount(labels, minlength=num_classes)


@torch.no_grad()
def term_targets(
    objective: Objective,
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    batch_size: int,
    seed: int = 0,
    epoch: int = 0,
) -> Iterator[TermTargets]:
    """Compute the targets of each matching term of an objective that uses the teacher; other terms are skipped.

    The samples come in the batches of one epoch of training, since temperatures are relative to their batch, and at
    the end of training (progress 1).

    Shapes: both logits ``[N, K]``, ``labels`` ``[N]``.

    >>> from tutelage.methods.preparing_lessons import knowledge_adjustment
    >>> student, teacher = torch.zeros(2, 2), torch.tensor([[0.5, 0.0], [0.5, 0.0]])
    >>> objective, labels = knowledge_adjustment(temperature=1.0), torch.tensor([0, 1])
    >>> (targets,) = term_targets(objective, student, teacher, labels, batch_size=2)
    >>> targets.formula, [round(moved, 6) for moved in targets.moved.tolist()]
    ('shifted(teacher)', [0.0, 0.244919])

    Source: arXiv 1911.07471.
    """
    order = functional.permutation(len(labels), seed, 0, epoch)
    keys = functional.hash_ints(seed, 1, epoch, torch.arange(len(labels)))
    student, teacher = student_logits.double(), teacher_logits.double()
    for term in objective.terms:
        match = term.of if isinstance(term, Scaled) else term
        if not isinstance(match, Match) or not match.target.needs_teacher:
            continue
        moved = torch.empty(len(labels), dtype=torch.float64)
        fixed = isinstance(match.temperature, Constant | Ramp)
        temperatures = None if fixed else torch.empty_like(moved)
        for rows in order.split(batch_size):
            signals = Signals(
                student_logits=student[rows],
                teacher_logits=teacher[rows],
                labels=labels[rows],
                keys=keys[rows],
                progress=1.0,
            )
            temperature = match.temperature(signals)
            if temperatures is not None:
                temperatures[rows] = torch.as_tensor(temperature, dtype=torch.float64)
            moved[rows] = mass_moved(TeacherProbs()(signals, temperature), match.target(signals, temperature))
        yield TermTargets(
            term=term.name,
            formula=match.target.formula(""),
            moved=moved,
            temperature=temperatures,
            floor=match.temperature.floor if isinstance(match.temperature, _Floored) else None,
        )
