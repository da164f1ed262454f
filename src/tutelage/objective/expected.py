"""The score of the labelled class at the optimum of an objective."""

from __future__ import annotations

from tutelage import functional
from tutelage.objective.objective import Objective
from tutelage.objective.scalars import Constant
from tutelage.objective.targets import Labels, TeacherProbs
from tutelage.objective.terms import ConfidencePenalty, Distance, Match, ScoreDifference


def expected_primary(objective: Objective, num_classes: int, teacher_primary: float | None = None) -> float | None:
    """The score of the labelled class where the objective is smallest; None where no closed form is known.

    Formula: matching terms at temperature 1 lead to the weighted mean of their targets, ``sum w t / sum w``
    (Eq. 4: ``1 - lambda (1 - f_y)``); labels and a score difference of weight ``eta / (1 - eta)`` lead to
    ``u(eta)``, labels and a confidence penalty to the inverse of ``beta(p)``.

    >>> from tutelage.methods.tolerant import tolerant_patriarch, tolerant_student
    >>> first = expected_primary(tolerant_patriarch(primary=0.6), num_classes=100)
    >>> second = expected_primary(tolerant_student(teacher_weight=0.6), 100, teacher_primary=first)
    >>> round(first, 6), round(second, 6)
    (0.6, 0.76)

    Source: derived from arXiv 1805.05551 v1, Eqs. 3 and 4, and arXiv 1701.06548.
    """
    shares: dict[Distance, float] = {
        functional.kl_divergence: 1.0,
        functional.cross_entropy: 1.0,
        functional.kl_divergence_element_mean: 1.0 / num_classes,
    }
    weight, pull = 0.0, 0.0
    others = []
    for term in objective.terms:
        if not isinstance(term, Match):
            others.append(term)
            continue
        if not isinstance(term.weight, Constant) or term.weight.value < 0.0 or term.distance not in shares:
            return None
        if term.temperature != Constant(1.0):
            return None
        match term.target:
            case Labels(smoothing=smoothing, others_only=others_only):
                primary = 1.0 - smoothing + (0.0 if others_only else smoothing / num_classes)
            case TeacherProbs() if teacher_primary is not None:
                primary = teacher_primary
            case _:
                return None
        share = term.weight.value * shares[term.distance]
        weight += share
        pull += share * primary
    if weight <= 0.0:
        return None
    match others:
        case []:
            return pull / weight
        case [ScoreDifference(weight=eta, k=k)] if pull == weight and eta >= 0.0:
            return functional.primary_for_tolerance(eta / (eta + weight), k)
        case [ConfidencePenalty(weight=beta, threshold=None)] if pull == weight and beta >= 0.0:
            return functional.primary_for_penalty(beta / weight, num_classes)
    return None
