"""Yang, Xie, Qiao, Yuille: Knowledge Distillation in Generations (arXiv 1805.05551 v1; AAAI 2019).

The weights are those of the first version: ``teacher_weight`` multiplies the KL term (the AAAI text swaps them).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tutelage import functional
from tutelage.methods.hinton import distillation
from tutelage.objective import LogitTerm, Objective, ScoreDifference, Signals, Term, beside_labels, number, times


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreDifferenceByShare(LogitTerm):
    """Keep confidence on the secondary classes near the best one, however many a sample has.

    Formula: ``weight * (f_a1 - mean {f_aj : f_aj > share f_a1})``, a_j the j-th best class of the output itself, j
    from 2 to ``max_k`` (all by default); the second best always counts.

    >>> ScoreDifferenceByShare(weight=0.5, share=0.1, max_k=5).formula()
    '0.5 D(student; scores above 0.1 of the best, at most 5)'

    Source: ours; arXiv 1805.05551 v1 announces a k for each sample without a formula.
    """

    weight: float
    share: float
    max_k: int | None = None
    name: str = "score_difference"
    needs_teacher = False

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"share is a part of the best score in (0, 1], not {self.share}")
        if self.max_k is not None and self.max_k < 2:
            raise ValueError(f"the score difference compares at least 2 classes, not max_k = {self.max_k}")

    def is_off(self, progress: float | None) -> bool:
        """Whether the weight is exactly 0."""
        return self.weight == 0.0

    def __call__(self, signals: Signals) -> Tensor:
        """The weighted score difference of each example, ``[B]``."""
        return self.weight * functional.score_difference_by_share(signals.student_logits, self.share, self.max_k)

    def formula(self) -> str:
        """The term as a formula."""
        most = "" if self.max_k is None else f", at most {self.max_k}"
        return times(number(self.weight), f"D(student; scores above {number(self.share)} of the best{most})")


def _difference(weight: float, k: int, share: float | None) -> Term:
    if share is None:
        return ScoreDifference(weight=weight, k=k)
    return ScoreDifferenceByShare(weight=weight, share=share, max_k=k)


def tolerant_patriarch(*, primary: float = 0.6, k: int = 5, share: float | None = None) -> Objective:
    """The tolerant teacher: labels, and a score difference that keeps confidence on ``k - 1`` secondary classes.

    Formula: ``(1 - eta) H(e_y, f) + eta D_k(f)`` with ``eta = (k - 1) / (k - 1 + k primary)``, so that ``primary``
    is the expected score of the best class. With a ``share`` the secondary classes of a sample are those with a
    score above that share of the best, at most ``k - 1``; at the optimum a single secondary class has all the rest,
    so ``eta = 1 / (1 + 2 primary)`` and ``primary`` is in ``[1/2, 1]``.

    >>> print(tolerant_patriarch(primary=0.6, k=5))
    0.428571 H(labels, student) + 0.571429 D_5(student)
    >>> print(tolerant_patriarch(primary=0.6, k=5, share=0.1))
    0.545455 H(labels, student) + 0.454545 D(student; scores above 0.1 of the best, at most 5)

    Source: arXiv 1805.05551 v1, Eq. 3; the closed form is derived, ``share`` is our reading of an extension that the
    paper announces without a formula.
    """
    eta = functional.tolerance_for_primary(primary, k if share is None else 2)
    return beside_labels(1.0 - eta, _difference(eta, k, share))


def tolerant_student(
    *,
    teacher_weight: float = 0.6,
    temperature: float = 1.0,
    tolerance: float = 0.0,
    k: int = 5,
    share: float | None = None,
) -> Objective:
    """A later generation: the labels, and the generation before it as the teacher.

    Formula: ``(1 - w) H(e_y, f) + w T^2 KL(f^(g-1)_T || f_T)``. The paper has ``temperature`` 1 and announces others
    as an extension. A ``tolerance`` eta > 0 adds the score difference to this generation too:
    ``(1 - eta) [the above] + eta D_k(f)``; the paper has 0. ``share`` selects the classes of that difference for each
    sample, as in the patriarch.

    >>> print(tolerant_student(teacher_weight=0.6))
    0.4 H(labels, student) + 0.6 KL(teacher ‖ student)
    >>> print(tolerant_student(teacher_weight=0.6, tolerance=0.5, k=3))
    0.2 H(labels, student) + 0.3 KL(teacher ‖ student) + 0.5 D_3(student)

    Source: arXiv 1805.05551 v1, Eq. 4.
    """
    if not 0.0 <= tolerance < 1.0:
        raise ValueError(f"tolerance is a share in [0, 1) of the objective, not {tolerance}")
    rest = 1.0 - tolerance
    objective = distillation(
        teacher_weight=rest * teacher_weight, hard_weight=rest * (1.0 - teacher_weight), temperature=temperature
    )
    if tolerance == 0.0:
        return objective
    return Objective((*objective.terms, _difference(tolerance, k, share)))
