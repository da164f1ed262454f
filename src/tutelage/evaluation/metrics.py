"""Measures of predictions, computed from logits in float64 and averaged over the samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, get_type_hints

import torch
from torch import Tensor

from tutelage.validation import checked

CHANCE = 0.001
"""The significance level of :func:`at_chance`."""
ROUNDING = 1e-6
"""By how much rounded shares may exceed 1 together."""


def ensemble(logits: Sequence[Tensor], shares: Sequence[float] = ()) -> Tensor:
    """The logits of an ensemble: the logarithm of the mean of its members' probabilities, ``[N, K]``.

    With ``shares``, one per member and above 0, the mean is weighted.

    Errors: ``ValueError`` for members that score other images or classes than the first.

    >>> a, b = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 2.0]])
    >>> ensemble([a, b]).softmax(1).tolist()
    [[0.5, 0.5]]

    Source: arXiv 1805.04770, BANE.
    """
    for member in logits:
        if member.shape != logits[0].shape:
            shapes = f"{list(logits[0].shape)} and {list(member.shape)}"
            raise ValueError(f"the members of an ensemble score the same images, not [images, classes] = {shapes}")
    stacked = torch.stack([member.double().log_softmax(1) for member in logits])
    weights = torch.tensor(list(shares) or [1.0] * len(stacked), dtype=torch.float64)
    return torch.logsumexp(stacked + weights.log()[:, None, None], 0) - weights.sum().log()


def accuracy(logits: Tensor, labels: Tensor, top: int = 1) -> float:
    """The share of samples whose label is among the ``top`` highest-scoring classes, in ``[0, 1]``.

    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    0.5
    """
    best = logits.topk(min(top, logits.shape[1]), dim=1).indices
    return (best == labels[:, None]).any(1).double().mean().item()


def at_chance(logits: Tensor, labels: Tensor) -> bool:
    """Whether the accuracy is not significantly above guessing.

    Formula: ``P(X >= right) >= 0.001``, ``X ~ Binomial(N, q)``, ``q`` the share of the most frequent class among the
    labels (``1 / K`` where all are equally frequent). A network that always predicts one class, as one that diverged
    does, is right at most ``q N`` times; random guesses are on average. Logits that are not finite count as wrong.

    Shapes: ``logits`` ``[N, K]``, ``labels`` ``[N]``, N >= 1.

    >>> labels = torch.arange(1000) % 10
    >>> at_chance(torch.zeros(1000, 10), labels), at_chance(torch.eye(10)[labels], labels)
    (True, False)

    Source: ours; a one-sided exact binomial test.
    """
    count = len(labels)
    largest = logits.max(1)  # NaN where any logit is NaN
    right = int(((largest.indices == labels) & largest.values.isfinite()).sum())
    most = int(torch.bincount(labels).max())
    if most == count:
        return True
    share, hits = most / count, torch.arange(right, count + 1, dtype=torch.float64)
    factorial = torch.lgamma(torch.tensor(count + 1.0, dtype=torch.float64))
    log_binomial = factorial - torch.lgamma(hits + 1) - torch.lgamma(count - hits + 1)
    tail = (log_binomial + hits * math.log(share) + (count - hits) * math.log1p(-share)).exp().sum()
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
    bin_of = torch.bucketize(confidence, torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1])
    sums = torch.zeros(bins, dtype=torch.float64).index_add_(0, bin_of, gap)
    return (sums.abs().sum() / len(labels)).item()


def energy(logits: Tensor, top: int | None = None) -> list[float]:
    """The mean sorted scores: that of the highest-scoring class, of the second, and so on.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Every measure of one set of images; ``energy`` holds the ten best classes.

    ``at_chance`` says that the accuracy is not significantly above guessing, see :func:`at_chance`.

    Units: ``top1``, ``top5``, ``ece``, ``primary`` and ``energy`` in ``[0, 1]``, ``nll`` in nats.
    """

    top1: float
    top5: float
    nll: float
    ece: float
    primary: float
    energy: tuple[float, ...]
    at_chance: bool

    def to_json(self) -> dict[str, object]:
        """The measures as plain JSON."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_json(cls, values: Any, where: str) -> Measures:
        """Read what :meth:`to_json` wrote; ``where`` names it in errors.

        Errors: ``ValueError`` for a measure that is missing, of another type, or beyond what it can be.

        >>> whole = measure(torch.eye(3), torch.arange(3))
        >>> Measures.from_json(whole.to_json(), "test") == whole
        True
        """
        checked(values, Mapping[str, Any], where)
        hints = get_type_hints(cls)
        missing = [name for name in hints if name not in values]
        if missing:
            raise ValueError(f"has no {where}.{missing[0]}")
        measures = cls(**{name: checked(values[name], kind, f"{where}.{name}") for name, kind in hints.items()})
        measures._check_ranges(where)
        return measures

    def _check_ranges(self, where: str) -> None:
        """Check that each measure is one that logits can have; sums of shares may round up."""
        for name in ("top1", "top5", "ece", "primary"):
            if not 0 <= getattr(self, name) <= 1 + ROUNDING:
                raise ValueError(f"{where}.{name} is {getattr(self, name)}: expected a share from 0 to 1")
        if self.top5 < self.top1:
            raise ValueError(f"{where}.top5 is {self.top5}, below top1 of {self.top1}")
        if self.nll < 0:
            raise ValueError(f"{where}.nll is {self.nll}: expected 0 or more")
        is_falling = all(0 <= after <= before for before, after in pairwise(self.energy))
        if not (self.energy and is_falling and self.energy[0] >= 0 and sum(self.energy) <= 1 + ROUNDING):
            raise ValueError(f"{where}.energy is {str(list(self.energy))[:80]}: expected falling shares, in all 1")


def measure(logits: Tensor, labels: Tensor) -> Measures:
    """Every measure of one set of images.

    >>> measure(torch.eye(3), torch.arange(3)).top1
    1.0
    """
    return Measures(
        top1=accuracy(logits, labels),
        top5=accuracy(logits, labels, top=5),
        nll=nll(logits, labels),
        ece=ece(logits, labels),
        primary=primary_score(logits, labels),
        energy=tuple(energy(logits, top=10)),
        at_chance=at_chance(logits, labels),
    )
