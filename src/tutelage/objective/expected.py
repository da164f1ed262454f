"""The scores at the optimum of an objective, by closed forms."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage import functional
from tutelage.objective.features import FeatureMatch, FlowMatch
from tutelage.objective.objective import Objective
from tutelage.objective.protocol import Term
from tutelage.objective.scalars import Scalar
from tutelage.objective.schedules import Scaled
from tutelage.objective.signals import Signals
from tutelage.objective.terms import ConfidencePenalty, Distance, Match, ScoreDifference, ScoreDifferenceByShare

_COPIES = 16
"""As many equal samples as tell a target that draws at random from one that does not."""


def expected_scores(objective: Objective, num_classes: int, teacher: Tensor | None = None) -> Tensor | None:
    """The scores where the objective is smallest, the labelled class first; None where no closed form is known.

    ``teacher`` holds the teacher's scores in the same order, float64 ``[K]``. Weights and temperatures that change
    over training count as they are at its end. Terms on features leave the scores free.

    Formula: matching terms at temperature 1 lead to the weighted mean of their targets, ``Σ w t / Σ w`` (Eq. 4:
    ``1 - λ (1 - f_y)`` for the label), at others to :func:`tutelage.functional.matched_optimum`; a score difference
    beside them to :func:`tutelage.functional.tolerant_optimum` or ``tolerant_optimum_by_share`` (labels alone:
    ``u(η)``), a confidence penalty at temperature 1 to :func:`tutelage.functional.penalized_optimum`.

    >>> from tutelage.methods.tolerant import tolerant_patriarch, tolerant_student
    >>> first = expected_scores(tolerant_patriarch(primary=0.6), num_classes=6)
    >>> first
    tensor([0.6000, 0.1000, 0.1000, 0.1000, 0.1000, 0.0000], dtype=torch.float64)
    >>> expected_scores(tolerant_student(teacher_weight=0.6, tolerance=0.2, temperature=2.0), 6, first)
    tensor([0.6902, 0.0774, 0.0774, 0.0774, 0.0774, 0.0000], dtype=torch.float64)

    Source: derived from arXiv 1805.05551 v1, Eqs. 3 and 4, and arXiv 1701.06548.
    """
    signals = _signals(num_classes, teacher)
    matches: list[_Matched] = []
    others: list[Term] = []
    for term in objective.terms:
        if term.is_off(1.0):
            continue
        scale = 1.0
        while isinstance(term, Scaled):
            factor = _number(term.by, signals)
            if factor is None:
                return None
            scale, term = scale * factor, term.of
        match term:
            case FeatureMatch() | FlowMatch():
                continue
            case Match():
                matched = _matched(term, scale, signals)
                if matched is None:
                    return None
                matches.append(matched)
            case ScoreDifference() | ScoreDifferenceByShare() | ConfidencePenalty():
                others.append(replace(term, weight=scale * term.weight))
            case _:
                return None
    return _optimum(matches, others)


def expected_primary(objective: Objective, num_classes: int, teacher_primary: float | None = None) -> float | None:
    """The score of the labelled class where the objective is smallest; None where no closed form is known.

    Formula: that of :func:`expected_scores`, for a teacher that spreads ``1 - teacher_primary`` evenly over the other
    classes. For matching terms at temperature 1 alone, how it is spread does not count.

    >>> from tutelage.methods.tolerant import tolerant_patriarch, tolerant_student
    >>> first = expected_primary(tolerant_patriarch(primary=0.6), num_classes=100)
    >>> second = expected_primary(tolerant_student(teacher_weight=0.6), 100, teacher_primary=first)
    >>> round(first, 6), round(second, 6)
    (0.6, 0.76)

    Source: derived from arXiv 1805.05551 v1, Eqs. 3 and 4, and arXiv 1701.06548.
    """
    teacher = None
    if teacher_primary is not None:
        label = torch.tensor([0])
        teacher = functional.smooth_other_labels(label, num_classes, 1.0 - teacher_primary, torch.float64)[0]
    scores = expected_scores(objective, num_classes, teacher)
    return None if scores is None else float(scores[0])


class _Matched(NamedTuple):
    target: Tensor
    weight: float
    temperature: float


def _signals(num_classes: int, teacher: Tensor | None) -> Signals:
    """Equal samples at the end of training. What a target reads of the student is not a number, and shows in it."""
    return Signals(
        student_logits=torch.full((_COPIES, num_classes), torch.nan, dtype=torch.float64),
        labels=torch.zeros(_COPIES, dtype=torch.long),
        teacher_logits=None if teacher is None else teacher.log().expand(_COPIES, num_classes),
        rows=torch.arange(_COPIES),
        keys=torch.arange(_COPIES),
        progress=1.0,
    )


def _number(scalar: Scalar, signals: Signals) -> float | None:
    """The value of a scalar that all samples share; None for another."""
    if scalar.needs_teacher and signals.teacher_logits is None:
        return None
    value = torch.as_tensor(scalar(signals), dtype=torch.float64).flatten()
    return float(value[0]) if bool((value == value[0]).all()) else None


def _matched(term: Match, scale: float, signals: Signals) -> _Matched | None:
    shares: dict[Distance, float] = {
        functional.kl_divergence: 1.0,
        functional.cross_entropy: 1.0,
        functional.kl_divergence_element_mean: 1.0 / signals.num_classes,
    }
    weight, temperature = _number(term.weight, signals), _number(term.temperature, signals)
    if weight is None or temperature is None or term.distance not in shares:
        return None
    if term.needs_teacher and signals.teacher_logits is None:
        return None
    weight *= scale * shares[term.distance] * temperature**term.temperature_power
    targets = term.target(signals, temperature)
    alike = bool((targets == targets[0]).all())  # not so for a target that is not a number
    return _Matched(targets[0], weight, temperature) if alike and weight >= 0.0 else None


def _optimum(matches: list[_Matched], others: list[Term]) -> Tensor | None:
    if not matches:
        return None
    targets = torch.stack([each.target for each in matches])
    weights = [each.weight for each in matches]
    temperatures = [each.temperature for each in matches]
    least, num_classes = min(temperatures), targets.shape[1]
    match others:
        case []:
            return functional.matched_optimum(targets, weights, temperatures)
        case [ScoreDifference(weight=eta, k=k)] if eta >= 0.0 and least >= 1.0 and k <= num_classes:
            return functional.tolerant_optimum(targets, weights, temperatures, eta, k)
        case [ScoreDifferenceByShare(weight=eta, share=share, max_k=most)] if eta >= 0.0 and least >= 1.0:
            return functional.tolerant_optimum_by_share(targets, weights, temperatures, eta, share, most)
        case [ConfidencePenalty(weight=beta, threshold=threshold)] if beta >= 0.0 and temperatures.count(1.0) == len(
            temperatures
        ):
            mean = functional.matched_optimum(targets, weights, temperatures)
            return functional.penalized_optimum(mean, beta / sum(weights), threshold)
    return None
