"""Distances between a target distribution and a student's logits, and entropies; one value per example.

None contains the factor ``τ²`` of distillation: papers differ in it, so the caller writes it, where one can see it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutelage.functional._checks import check_matrix, check_pair
from tutelage.functional.distributions import tempered_logits


def cross_entropy(target_probs: Tensor, student_logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Cross-entropy from a target distribution to a student at a temperature.

    Formula: ``H(t, p_τ) = -Σ_k t(k) ln softmax(z / τ)(k)``.

    Shapes: ``target_probs`` and ``student_logits`` ``[B, K]``; ``temperature`` a number, ``[]`` or ``[B]``; the
    result ``[B]``, in nats. The target is used as it is; temper it beforehand if needed.

    Errors: ``ValueError`` for different shapes, and those of :func:`tempered_logits`.

    >>> cross_entropy(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([0.6931])

    Source: Hinton, Vinyals, Dean, arXiv 1503.02531, section 2.
    """
    check_pair("target_probs", target_probs, "student_logits", student_logits)
    return -(target_probs * tempered_logits(student_logits, temperature).log_softmax(-1)).sum(-1)


def kl_divergence(target_probs: Tensor, student_logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Kullback-Leibler divergence from a target distribution to a student at a temperature.

    Formula: ``KL(t || p_τ) = Σ_k t(k) (ln t(k) - ln softmax(z / τ)(k))`` with ``0 ln 0 = 0``.

    Shapes: ``target_probs`` and ``student_logits`` ``[B, K]``; ``temperature`` a number, ``[]`` or ``[B]``; the
    result ``[B]``, in nats. The target is used as it is; temper it beforehand if needed.

    Errors: ``ValueError`` for different shapes, and those of :func:`tempered_logits`.

    >>> kl_divergence(torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([[0.0, 0.0], [0.0, 0.0]]))
    tensor([0.0000, 0.6931])

    Source: Hinton, Vinyals, Dean, arXiv 1503.02531, section 2, minus the entropy of the target, which has no
    gradient with respect to the student.
    """
    check_pair("target_probs", target_probs, "student_logits", student_logits)
    student_log_probs = tempered_logits(student_logits, temperature).log_softmax(-1)
    return (torch.xlogy(target_probs, target_probs) - target_probs * student_log_probs).sum(-1)


def kl_divergence_element_mean(
    target_probs: Tensor, student_logits: Tensor, temperature: float | Tensor = 1.0
) -> Tensor:
    """The Kullback-Leibler divergence divided by the number of classes.

    Formula: ``KL(t || p_τ) / K``. Its mean over a batch is the mean over all ``B K`` elements, which is what
    ``torch.nn.KLDivLoss()`` takes by default, and what some published weights were tuned with.

    Shapes: those of :func:`kl_divergence`.

    Errors: those of :func:`kl_divergence`.

    >>> kl_divergence_element_mean(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([0.3466])

    Source: ``loss_kd`` of the official code of Yuan et al., arXiv 1909.11723.
    """
    return kl_divergence(target_probs, student_logits, temperature) / student_logits.shape[-1]


def entropy(logits: Tensor) -> Tensor:
    """Entropy of a softmax.

    Formula: ``H(p) = -Σ_k p(k) ln p(k)``, ``p = softmax(z)``.

    Shapes: ``logits`` ``[B, K]``; the result ``[B]``, in nats, from 0 to ``ln K``.

    Errors: ``ValueError`` for logits that are not ``[B, K]``.

    >>> entropy(torch.zeros(1, 2))
    tensor([0.6931])

    Source: Pereyra et al., arXiv 1701.06548.
    """
    check_matrix("logits", logits)
    log_probs = logits.log_softmax(-1)
    return -(log_probs.exp() * log_probs).sum(-1)


def confidence_penalty(logits: Tensor) -> Tensor:
    """Negative entropy, smallest for a uniform prediction.

    Formula: ``-H(softmax(z)) = KL(p || uniform) - ln K``.

    Shapes: ``logits`` ``[B, K]``; the result ``[B]``, in nats, from ``-ln K`` to 0.

    Errors: ``ValueError`` for logits that are not ``[B, K]``.

    >>> confidence_penalty(torch.zeros(1, 2))
    tensor([-0.6931])

    Source: Pereyra et al., "Regularizing neural networks by penalizing confident output distributions",
    arXiv 1701.06548.
    """
    return -entropy(logits)


def confidence_hinge(logits: Tensor, threshold: float) -> Tensor:
    """Penalty on predictions whose entropy is below a threshold.

    Formula: ``max(0, Γ - H(softmax(z)))``.

    Shapes: ``logits`` ``[B, K]``; ``threshold`` = Γ >= 0, in nats; the result ``[B]``.

    Errors: ``ValueError`` for logits that are not ``[B, K]`` and for a negative threshold.

    >>> confidence_hinge(torch.tensor([[0.0, 0.0], [0.0, 100.0]]), threshold=0.5)
    tensor([0.0000, 0.5000])

    Source: the hinge variant of Pereyra et al., arXiv 1701.06548; this form is our reading of it.
    """
    if not threshold >= 0:
        raise ValueError(f"threshold must be an entropy of at least 0 nats, got {threshold}")
    return (threshold - entropy(logits)).relu()
