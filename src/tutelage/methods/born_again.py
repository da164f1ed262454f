"""Furlanello et al.: Born-Again Neural Networks (arXiv 1805.04770, ICML 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage import functional
from tutelage.methods.hinton import distillation
from tutelage.objective import Labels, Match, Objective, Signals, Target, TeacherProbs


@dataclass(frozen=True, slots=True)
class TeacherConfidence:
    """A weight for each sample: the teacher's largest score, scaled to a mean of 1 over the batch.

    Formula: ``w_s = B max_k p_s,k / sum_u max_k p_u,k``; the batch mean of ``w_s l_s`` is the paper's weighted sum.

    Source: arXiv 1805.04770, section 3.2 (CWTM).
    """

    needs_teacher = True

    def __call__(self, signals: Signals) -> Tensor:
        """The weight of each sample, ``[B]``."""
        probs = functional.soften(signals.from_teacher())
        return functional.teacher_max_weights(probs) * len(probs)

    def formula(self) -> str:
        """The scalar as written in a formula."""
        return "B·max(teacher)/Σ max(teacher)"


@dataclass(frozen=True, slots=True)
class Permuted:
    """A target whose best class stays in place while the other entries are shuffled, anew for each sample and epoch.

    Source: arXiv 1805.04770, section 3.2 (DKPP); a permutation of its own for each sample and epoch is our reading.
    """

    of: Target = TeacherProbs()

    @property
    def needs_teacher(self) -> bool:
        """Whether the inner target needs a teacher."""
        return self.of.needs_teacher

    def __call__(self, signals: Signals, temperature: float | Tensor) -> Tensor:
        """The distribution ``[B, K]``."""
        probs = self.of(signals, temperature)
        if signals.keys is None:
            raise ValueError("permuting draws random numbers: the signals need keys, one per sample")
        classes = torch.arange(probs.shape[1], device=probs.device)
        return functional.permute_dark_knowledge(probs, functional.uniform(signals.keys[:, None], classes))

    def formula(self, temperature: str) -> str:
        """The target as written in a formula."""
        return f"permuted({self.of.formula(temperature)})"


def born_again() -> Objective:
    """BAN: the teacher's output alone, without temperature or labels; meant for a student of the same architecture.

    Formula: ``KL(p^T || p)``, the paper's ``H(p^T, p)`` minus a constant.

    >>> print(born_again())
    KL(teacher ‖ student)

    Source: arXiv 1805.04770, section 3.
    """
    return distillation(teacher_weight=1.0, temperature=1.0)


def born_again_labels(*, teacher_weight: float = 0.5) -> Objective:
    """BAN+L: the labels and the teacher's output.

    Formula: ``(1 - w) H(e_y, p) + w KL(p^T || p)``; the equal weights are D(1.0, 0.5) of arXiv 1805.05551.

    >>> print(born_again_labels())
    0.5 H(labels, student) + 0.5 KL(teacher ‖ student)

    Source: arXiv 1805.04770, section 3; the paper's text does not give the weight.
    """
    return distillation(teacher_weight=teacher_weight, temperature=1.0)


def confidence_weighted() -> Objective:
    """CWTM: the labels alone, each sample weighted by the teacher's largest score.

    Formula: ``sum_s w_s H(e_y, p_s)``, ``w_s = max_k p^T_s,k / sum_u max_k p^T_u,k``.

    >>> print(confidence_weighted())
    B·max(teacher)/Σ max(teacher) H(labels, student)

    Source: arXiv 1805.04770, section 3.2.
    """
    labels = Match(name="labels", target=Labels(), weight=TeacherConfidence(), distance=functional.cross_entropy)
    return Objective((labels,))


def permuted_dark_knowledge() -> Objective:
    """DKPP: the teacher's output with all classes but the best shuffled, without labels.

    Formula: ``KL(perm(p^T) || p)``.

    >>> print(permuted_dark_knowledge())
    KL(permuted(teacher) ‖ student)

    Source: arXiv 1805.04770, section 3.2.
    """
    return Objective((Match(name="teacher", target=Permuted()),))
