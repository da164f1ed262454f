"""Sun et al.: Logit Standardization in Knowledge Distillation (arXiv 2403.01427, CVPR 2024)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tutelage import functional
from tutelage.methods.decoupled import WARM_UP, Decoupled, warming_up
from tutelage.objective import Constant, Match, Objective, Signals, TeacherProbs, Term, beside_labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Standardized:
    """Any term on logits, given those of both networks with mean 0 and standard deviation 1 in each row.

    Formula: ``z -> (z - mean z) / (std z + 1e-7)``; ``unbiased`` divides the variance by ``K - 1``, else by ``K``.
    Only the term within sees them: labels beside it keep the raw logits.

    >>> from tutelage.objective import TeacherProbs
    >>> Standardized(of=Match(name="teacher", target=TeacherProbs(), temperature=Constant(2.0))).formula()
    'standardized(2^2 KL(teacher@2 ‖ student@2))'

    Source: arXiv 2403.01427; unbiased in its code, which of the two the paper means was not found.
    """

    of: Term
    unbiased: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.of, Term):
            raise TypeError(f"what is standardized must be a Term, not {self.of!r}")

    @property
    def name(self) -> str:
        """The name of the term within."""
        return self.of.name

    @property
    def needs_teacher(self) -> bool:
        """Whether the term within asks a teacher."""
        return self.of.needs_teacher

    def __call__(self, signals: Signals) -> Tensor:
        """The value of the term within for each example, ``[B]``."""
        given = replace(signals, student_logits=functional.standardize(signals.student_logits, self.unbiased))
        if self.needs_teacher:
            with torch.no_grad():
                teacher = functional.standardize(signals.from_teacher(), self.unbiased)
            given = replace(given, teacher_logits=teacher)
        return self.of(given)

    def formula(self) -> str:
        """The term as a formula."""
        kind = "" if self.unbiased else ", population std"
        return f"standardized({self.of.formula()}{kind})"


def logit_standardization(
    *, hard_weight: float = 0.1, teacher_weight: float = 9.0, temperature: float = 2.0, unbiased: bool = True
) -> Objective:
    """Distillation on standardised logits: the student need not match the teacher's scale, only its shape.

    Formula: ``h H(e_y, p) + w T^2 KL(softmax(Z(z^T) / T) || softmax(Z(z) / T))``, ``Z(z) = (z - mean z) / std z``.

    >>> print(logit_standardization())
    0.1 H(labels, student) + standardized(9 2^2 KL(teacher@2 ‖ student@2))

    Source: arXiv 2403.01427; all values from its code, where most pairs of CIFAR-100 have T = 2 and weight 9.
    """
    teacher = Match(
        name="teacher", target=TeacherProbs(), temperature=Constant(temperature), weight=Constant(teacher_weight)
    )
    return beside_labels(hard_weight, Standardized(of=teacher, unbiased=unbiased))


def standardized_decoupled(
    *,
    hard_weight: float = 1.0,
    teacher_weight: float = 9.0,
    target_weight: float = 1.0,
    other_weight: float = 8.0,
    temperature: float = 2.0,
    warm_up: float = WARM_UP,
    unbiased: bool = True,
) -> Objective:
    """DKD on standardised logits; ``teacher_weight`` multiplies both its parts.

    Formula: ``h H(e_y, p) + w r T^2 (a TCKD + b NCKD)`` on ``Z(z^T)`` and ``Z(z)``, with the warm-up r of DKD.

    >>> print(standardized_decoupled(warm_up=0.0))
    H(labels, student) + standardized(9 2^2 (TCKD + 8 NCKD)(teacher@2 ‖ student@2))

    Source: arXiv 2403.01427; its code on DKD's, the weights of its resnet32x4 to resnet8x4.
    """
    term = Decoupled(
        target_weight=target_weight,
        other_weight=other_weight,
        temperature=Constant(temperature),
        weight=warming_up(warm_up, to=teacher_weight),
    )
    return beside_labels(hard_weight, Standardized(of=term, unbiased=unbiased))
