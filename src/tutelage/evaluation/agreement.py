"""How far two networks agree: a student and its teacher on the same images."""

from __future__ import annotations

import torch
from torch import Tensor

from tutelage import functional


def agreement(first_logits: Tensor, second_logits: Tensor) -> float:
    """The share of samples for which two networks predict the same class, in ``[0, 1]``.

    Shapes: both logits ``[N, K]`` of the same samples.

    >>> agreement(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
    0.5

    Source: none needed.
    """
    return (first_logits.argmax(1) == second_logits.argmax(1)).double().mean().item()


def divergence(teacher_logits: Tensor, student_logits: Tensor) -> float:
    """The mean divergence from teacher to student at temperature 1, in nats.

    Formula: ``mean_n KL(p^T_n || p^S_n)``.

    Shapes: both ``[N, K]``.

    >>> divergence(torch.tensor([[1e9, 0.0]]), torch.tensor([[0.0, 0.0]]))  # ln 2
    0.6931471805599453

    Source: arXiv 1503.02531, section 2.
    """
    target = teacher_logits.double().softmax(1)
    return functional.kl_divergence(target, student_logits.double()).mean().item()


def logit_correlation(first_logits: Tensor, second_logits: Tensor) -> float:
    """The mean correlation of two networks' logits over the classes, in ``[-1, 1]``.

    Formula: ``mean_n pearson(z_n, z'_n)`` over the K classes; 0 for a constant row. It depends on the order and
    spacing of all classes, but neither on the temperature nor on a constant added to all logits.

    Shapes: both ``[N, K]``.

    >>> round(logit_correlation(torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[5.0, 7.0, 9.0]])), 6)
    1.0

    Source: ours; DIST (arXiv 2205.10536) correlates probabilities in this way.
    """
    return torch.cosine_similarity(_centered(first_logits), _centered(second_logits), dim=1).mean().item()


def _centered(logits: Tensor) -> Tensor:
    return logits.double() - logits.double().mean(1, keepdim=True)
