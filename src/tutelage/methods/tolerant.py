"""Yang, Xie, Qiao, Yuille: Knowledge Distillation in Generations (arXiv 1805.05551 v1; AAAI 2019).

The weights are those of the first version: ``teacher_weight`` multiplies the KL term (the AAAI text swaps them).
"""

from __future__ import annotations

from tutelage import functional
from tutelage.methods.hinton import distillation
from tutelage.objective import Objective, ScoreDifference, beside_labels


def tolerant_patriarch(*, primary: float = 0.6, k: int = 5) -> Objective:
    """The tolerant teacher: labels, and a score difference that keeps confidence on ``k - 1`` secondary classes.

    Formula: ``(1 - eta) H(e_y, f) + eta D_k(f)`` with ``eta = (k - 1) / (k - 1 + k primary)``, so that ``primary``
    is the expected score of the best class.

    >>> print(tolerant_patriarch(primary=0.6, k=5))
    0.428571 H(labels, student) + 0.571429 D_5(student)

    Source: arXiv 1805.05551 v1, Eq. 3; the closed form is derived.
    """
    eta = functional.tolerance_for_primary(primary, k)
    return beside_labels(1.0 - eta, ScoreDifference(weight=eta, k=k))


def tolerant_student(
    *, teacher_weight: float = 0.6, temperature: float = 1.0, tolerance: float = 0.0, k: int = 5
) -> Objective:
    """A later generation: labels, and the generation before it.

    Formula: ``(1 - w) H(e_y, f) + w T^2 KL(f^(g-1)_T || f_T)``. The paper has ``temperature`` 1 and announces others
    as an extension. A ``tolerance`` eta > 0 keeps a share of the score difference in this generation too:
    ``(1 - eta) [the above] + eta D_k(f)``; 0 is the paper.

    >>> print(tolerant_student(teacher_weight=0.6))
    0.4 H(labels, student) + 0.6 KL(teacher ‖ student)
    >>> print(tolerant_student(teacher_weight=0.6, tolerance=0.5, k=3))
    0.2 H(labels, student) + 0.3 KL(teacher ‖ student) + 0.5 D_3(student)

    Source: arXiv 1805.05551 v1, Eq. 4.
    """
    if not 0.0 <= tolerance < 1.0:
        raise ValueError(f"tolerance is a share in [0, 1) of the objective, not {tolerance}")
    rest = 1.0 - tolerance
    taught = distillation(
        teacher_weight=rest * teacher_weight, hard_weight=rest * (1.0 - teacher_weight), temperature=temperature
    )
    if tolerance == 0.0:
        return taught
    return Objective((*taught.terms, ScoreDifference(weight=tolerance, k=k)))
