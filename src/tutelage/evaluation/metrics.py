"""Measures of predictions, all from logits; averages over the samples, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

CHANCE = 0.001
"""Right answers that come about so often without a look at the images are no sign of having learned."""


def ensemble(logits: Sequence[Tensor], shares: Sequence[float] = ()) -> Tensor:
    """The logits of an ensemble: the logarithm of the mean of its members' probabilities, ``[N, K]``.

    With ``shares``, one a member and above 0, the mean is weighted by them.

    >>> a, b = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 2.0]])
    >>> ensemble([a, b]).softmax(1).tolist()
    [[0.5, 0.5]]

    Source: arXiv 1805.04770, BANE.
    """
    stacked = torch.stack([member.double().log_softmax(1) for member in logits])
    weights = torch.tensor(list(shares) or [1.0] * len(stacked), dtype=torch.float64)
    return torch.logsumexp(stacked + weights.log()[:, None, None], 0) - weights.sum().log()


def accuracy(logits: Tensor, labels: Tensor, top: int = 1) -> float:
    """The share of samples whose label is among the ``top`` best classes, in ``[0, 1]``.

    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    0.5
    """
    best = logits.topk(min(top, logits.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(1).double().mean().item()


def at_chance(logits: Tensor, labels: Tensor) -> bool:
    """Whether so many right answers may come about without a look at the images.

    Formula: ``P(X >= right) >= 0.001``, ``X ~ Binomial(N, q)``, ``q`` the share of the most frequent class among the
    labels (``1 / K`` where all are as frequent). Whoever always answers one class, as a network does that diverged,
    has at most ``q N`` right, and whoever draws lots as many on average. What is not a finite number is not right.

    Shapes: ``logits`` ``[N, K]``, ``labels`` ``[N]``, N >= 1.

    >>> labels = torch.arange(1000) % 10
    >>> at_chance(torch.zeros(1000, 10), labels), at_chance(torch.eye(10)[labels], labels)
    (True, False)

    Source: ours; a one-sided exact binomial test.
    """
    count = len(labels)
    largest = logits.max(1)  # not a number where any is none
    right = int(((largest.indices == labels) & largest.values.isfinite()).sum())
    most = int(torch.bincount(labels).max())
    if most == count:
        return True
    share, hits = most / count, torch.arange(right, count + 1, dtype=torch.float64)
    whole = torch.tensor(count + 1.0, dtype=torch.float64)
    ways = torch.lgamma(whole) - torch.lgamma(hits + 1) - torch.lgamma(count - hits + 1)
    tail = (ways + hits * math.log(share) + (count - hits) * math.log1p(-share)).exp().sum()
    return tail.item() >= CHANCE


def nll(logits: Tensor, labels: Tensor) -> float:
    """The mean negative log-likelihood of the labels, in nats.

    >>> round(nll(torch.zeros(1, 2), torch.tensor([0])), 6)
    0.693147
    """
    return torch.nn.functional.cross_entropy(logits.double(), labels).item()


def ece(logits: Tensor, labels: Tensor, bins: int = 15) -> float:
    """The expected calibration error: the mean gap between confidence and accuracy over equal bins of confidence.

    Formula: ``sum_b n_b / N |acc_b - conf_b|``, bins ``((b - 1) / 15, b / 15]``.

    >>> round(ece(torch.tensor([[0.6, 0.4]]).log(), torch.tensor([0])), 6)
    0.4

    Source: Guo et al., arXiv 1706.04599, Eq. 3.
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    gap = (predicted == labels).double() - confidence
    which = torch.bucketize(confidence, torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1])
    sums = torch.zeros(bins, dtype=torch.float64).index_add_(0, which, gap)
    return (sums.abs().sum() / len(labels)).item()


def energy(logits: Tensor, top: int | None = None) -> list[float]:
    """The mean sorted score distribution: how much the best class gets, the second best, and so on.

    Formula: ``E_k = mean_n f_n,(k)``, ``f_n,(k)`` the k-th largest score of sample n; the first ``top`` of them.

    >>> [round(share, 6) for share in energy(torch.tensor([[0.25, 0.75], [0.75, 0.25]]).log())]
    [0.75, 0.25]

    Source: arXiv 1805.05551 v1, Figure 1.
    """
    scores = logits.double().softmax(1).sort(1, descending=True).values.mean(0)
    return list(scores[:top].tolist())


def primary_score(logits: Tensor, labels: Tensor) -> float:
    """The mean score of the labelled class, in ``[0, 1]``.

    >>> round(primary_score(torch.tensor([[0.25, 0.75]]).log(), torch.tensor([1])), 6)
    0.75
    """
    scores = logits.double().softmax(1)
    return scores.gather(1, labels[:, None]).mean().item()


def measure(logits: Tensor, labels: Tensor) -> dict[str, float | list[float]]:
    """Every measure of one set, by name; the energy for the ten best classes.

    >>> sorted(measure(torch.eye(3), torch.arange(3)))
    ['ece', 'energy', 'nll', 'primary', 'top1', 'top5']
    """
    return {
        "top1": accuracy(logits, labels),
        "top5": accuracy(logits, labels, top=5),
        "nll": nll(logits, labels),
        "ece": ece(logits, labels),
        "primary": primary_score(logits, labels),
        "energy": energy(logits, top=10),
    }
