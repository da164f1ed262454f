"""Yang, Xie, Qiao, Yuille: Knowledge Distillation in Generations (arXiv 1805.05551 v1; AAAI 2019).

The weights are those of the first version: ``teacher_weight`` multiplies the KL term (the AAAI text swaps them).
"""

from __future__ import annotations

from tutelage import functional
from tutelage.methods.hinton import distillation
from tutelage.objective import Objective, ScoreDifference, ScoreDifferenceByShare, Term, beside_labels


def _difference(weight: float, k: int, share: float | None) -> Term:
    if share is None:
        return ScoreDifference(weight=weight, k=k)
    return ScoreDifferenceByShare(weight=weight, share=share, max_k=k)


def tolerant_patriarch(*, primary: float = 0.6, k: int = 5, share: float | None = None) -> Objective:
    """The tolerant teacher: labels, and a score difference that keeps confidence on ``k - 1`` secondary classes.

    Formula: ``(1 - eta) H(e_y, f) + eta D_k(f)`` with ``eta = (k - 1) / (k - 1 + k primary)``, so that ``primary``
    is the expected score of the best class. With a ``share`` the secondary classes of a sample are those with a
    score above that share of the best, at most ``k - 1``; at the optimum a single secondary class has all the rest,
    so ``eta = 1 / (1 + 2 primary)`` and ``primary`` is in ``[1/2, 1]``. At ``primary`` 1 ``eta`` is 0: the labels
    alone, the paper's ``D(1.0, lambda)``.

    >>> print(tolerant_patriarch(primary=0.6, k=5))
    0.428571 H(labels, student) + 0.571429 D_5(student)
    >>> print(tolerant_patriarch(primary=1.0))
    H(labels, student)
    >>> print(tolerant_patriarch(primary=0.6, k=5, share=0.1))
    0.545455 H(labels, student) + 0.454545 D(student; scores above 0.1 of the best, at most 5)

    Source: arXiv 1805.05551 v1, Eq. 3; the closed form is derived, ``share`` is our reading of an extension that the
    paper announces without a formula.
    """
    eta = functional.tolerance_for_primary(primary, k if share is None else 2)
    return beside_labels(1.0 - eta, *([_difference(eta, k, share)] if eta else []))


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
