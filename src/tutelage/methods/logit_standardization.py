"""Sun et al.: Logit Standardization in Knowledge Distillation (arXiv 2403.01427, CVPR 2024)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tutelage import functional
from tutelage.methods.decoupled import WARM_UP, Decoupled, warming_up
from tutelage.objective import Constant, Match, Objective, Signals, TeacherProbs, Term, TermWrapper, beside_labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Standardized(TermWrapper):
    """Any term, computed on the logits of both networks with mean 0 and standard deviation 1 in each row.

    Formula: ``z -> (z - mean z) / (std z + 1e-7)``; ``unbiased`` divides the variance by ``K - 1``, else by ``K``.
    Only the inner term sees them: a labels' term beside it has the raw logits.

    >>> from tutelage.objective import TeacherProbs
    >>> Standardized(of=Match(name="teacher", target=TeacherProbs(), temperature=Constant(2.0))).formula()
    'standardized(2^2 KL(teacher@2 ‖ student@2))'

    Source: arXiv 2403.01427; unbiased in the authors' code; the paper does not say which it means.
    """

    of: Term
    unbiased: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.of, Term):
            raise TypeError(f"what is standardized must be a Term, not {self.of!r}")

    def apply(self, signals: Signals, inner: Callable[[Signals], Tensor]) -> Tensor:
        """The value of the inner term on standardized logits, ``[B]``."""
        scaled = replace(signals, student_logits=functional.standardize(signals.student_logits, self.unbiased))
        if self.needs_teacher and signals.teacher_logits is not None:  # a term on features needs no teacher logits
            with torch.no_grad():
                teacher = functional.standardize(signals.from_teacher(), self.unbiased)
            scaled = replace(scaled, teacher_logits=teacher)
        return inner(scaled)

    def formula(self) -> str:
        """The term as a formula."""
        kind = "" if self.unbiased else ", population std"
        return f"standardized({self.of.formula()}{kind})"


def logit_standardization(
    *, hard_weight: float = 0.1, teacher_weight: float = 9.0, temperature: float = 2.0, unbiased: bool = True
) -> Objective:
    """Distillation on standardized logits: the student need not match the scale of the teacher's logits.

    Formula: ``h H(e_y, p) + w T^2 KL(softmax(Z(z^T) / T) || softmax(Z(z) / T))``, ``Z(z) = (z - mean z) / std z``.

    >>> print(logit_standardization())
    0.1 H(labels, student) + standardized(9 2^2 KL(teacher@2 ‖ student@2))

    Source: arXiv 2403.01427; all values from the authors' code, where most pairs on CIFAR-100 have T = 2 and
    weight 9.
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
    """DKD on standardized logits; ``teacher_weight`` multiplies both parts.

    Formula: ``h H(e_y, p) + w r T^2 (a TCKD + b NCKD)`` on ``Z(z^T)`` and ``Z(z)``, with the warm-up r of DKD.

    >>> print(standardized_decoupled(warm_up=0.0))
    H(labels, student) + standardized(9 2^2 (TCKD + 8 NCKD)(teacher@2 ‖ student@2))

    Source: arXiv 2403.01427; the authors' code for DKD, with its weights for resnet32x4 to resnet8x4.
    """
    term = Decoupled(
        target_weight=target_weight,
        other_weight=other_weight,
        temperature=Constant(temperature),
        weight=warming_up(warm_up, to=teacher_weight),
    )
    return beside_labels(hard_weight, Standardized(of=term, unbiased=unbiased))
