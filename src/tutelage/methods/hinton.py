"""Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network (arXiv 1503.02531)."""

from __future__ import annotations

from tutelage import functional
from tutelage.objective import Constant, Labels, Match, Objective, TeacherProbs, beside_labels


def labels_only() -> Objective:
    """Plain training on the labels, the baseline of every other method.

    Formula: ``H(e_y, p)``.

    >>> print(labels_only())
    H(labels, student)

    Source: none needed.
    """
    return Objective((Match(name="labels", target=Labels(), distance=functional.cross_entropy),))


def distillation(
    *,
    teacher_weight: float = 0.9,
    hard_weight: float | None = None,
    temperature: float = 4.0,
    temperature_power: float = 2.0,
) -> Objective:
    """Knowledge distillation: the labels and the teacher's softened prediction.

    Formula: ``(1 - w) H(e_y, p) + w T^2 KL(p^T_T || p_T)``; ``hard_weight`` replaces ``1 - w``; at 0 the labels are
    left out. The defaults are those of the CRD benchmark (T = 4, 0.1 and 0.9).

    >>> print(distillation())
    0.1 H(labels, student) + 0.9 4^2 KL(teacher@4 ‖ student@4)

    Source: arXiv 1503.02531, section 2, in the KL form (same gradient); weights from the RepDistiller code.
    """
    hard = 1.0 - teacher_weight if hard_weight is None else hard_weight
    teacher = Match(
        name="teacher",
        target=TeacherProbs(),
        temperature=Constant(temperature),
        weight=Constant(teacher_weight),
        temperature_power=temperature_power,
    )
    return beside_labels(hard, teacher)
