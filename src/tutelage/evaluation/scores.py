"""How a network distributes its score over the classes: sorted scores, and which class comes second."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def sorted_scores(logits: Tensor, ranks: int = 10) -> Tensor:
    """The highest scores of each sample in descending order, float64 ``[N, min(ranks, K)]``.

    Formula: ``f_n,(1) >= f_n,(2) >= ...``, ``f = softmax(z)``; the mean over the samples is ``evaluation.energy``.

    Shapes: ``logits`` ``[N, K]``.

    >>> sorted_scores(torch.tensor([[0.2, 0.7, 0.1]]).log(), ranks=2).round(decimals=6)
    tensor([[0.7000, 0.2000]], dtype=torch.float64)

    Source: arXiv 1805.05551 v1, Figure 1.
    """
    return logits.double().softmax(1).topk(min(ranks, logits.shape[1]), dim=1).values


def quantiles(values: Tensor, shares: Sequence[float]) -> list[float]:
    """Quantiles of values ``[N]``, N >= 1, in float64; linear between neighbours.

    >>> quantiles(torch.tensor([4.0, 1.0, 2.0]), [0.0, 0.25, 0.5, 1.0])
    [1.0, 1.5, 2.0, 4.0]
    """
    levels = torch.tensor(shares, dtype=torch.float64)
    return list(torch.quantile(values.double(), levels).tolist())


def second_choices(logits: Tensor, labels: Tensor) -> Tensor:
    """Count which class comes second, by true class: int64 ``[K, K]``, rows are true classes.

    Formula: ``M(c, j) = #{n : y_n = c, a_n2 = j}``, ``a_n2`` the class of the second largest score. The diagonal
    counts the samples whose own class came second.

    Shapes: ``logits`` ``[N, K]`` with K >= 2, ``labels`` ``[N]``. Equal scores are ordered as by
    ``torch.topk``.

    Errors: ``ValueError`` for fewer than two classes.

    >>> logits = torch.tensor([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0], [3.0, 2.0, 1.0]])
    >>> second_choices(logits, torch.tensor([0, 0, 1])).tolist()
    [[0, 1, 1], [0, 1, 0], [0, 0, 0]]

    Source: arXiv 1805.05551 v1, Figure 1.
    """
    classes = logits.shape[1]
    if classes < 2:
        raise ValueError("second choices need at least two classes")
    second = logits.topk(2, dim=1).indices[:, 1]
    return torch.bincount(labels * classes + second, minlength=classes**2).reshape(classes, classes)


def concentration(counts: Tensor) -> float:
    """The share of samples whose second choice is the most frequent one of their true class, in ``(0, 1]``.

    Formula: ``sum_c max_j M(c, j) / sum M``; 1 where each class always has the same second choice.

    Shapes: ``counts`` ``[K, K]`` from :func:`second_choices`, of at least one sample.

    >>> concentration(torch.tensor([[0, 3, 1], [2, 0, 2], [0, 0, 0]]))
    0.625

    Source: ours.
    """
    return (counts.max(1).values.sum().double() / counts.sum()).item()
