"""Calibration: reliability diagrams, and the temperature that corrects overconfidence."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tutelage.functional import permutation

FOLDS = 5
_FOLD_KEY = 0x5CA1E  # the folds are drawn from it and the size of the set: all models share them


class Reliability(NamedTuple):
    """A reliability diagram: the number of images, mean confidence and accuracy in each bin of confidence.

    Shapes: all ``[bins]``; ``confidence`` and ``accuracy`` are NaN where ``images`` is 0.
    """

    images: Tensor
    confidence: Tensor
    accuracy: Tensor


def reliability(logits: Tensor, labels: Tensor, bins: int = 15) -> Reliability:
    """Compute a reliability diagram over equal bins of confidence.

    Formula: bin b holds the samples with ``max softmax(z)`` in ``((b - 1) / bins, b / bins]``; the ECE is
    ``sum_b n_b / N |acc_b - conf_b|``.

    Shapes: ``logits`` ``[N, K]``, ``labels`` ``[N]``.

    >>> diagram = reliability(torch.tensor([[0.6, 0.4], [0.9, 0.1]]).log(), torch.tensor([0, 1]), bins=2)
    >>> diagram.images.tolist(), round(diagram.confidence[1].item(), 6), diagram.accuracy[1].item()
    ([0, 2], 0.75, 0.5)

    Source: Guo et al., arXiv 1706.04599, Eqs. 1 to 3.
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    bin_of = torch.bucketize(confidence, torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1])
    images = torch.bincount(bin_of, minlength=bins)

    def mean(values: Tensor) -> Tensor:
        return torch.zeros(bins, dtype=torch.float64).index_add_(0, bin_of, values) / images

    return Reliability(images, mean(confidence), mean((predicted == labels).double()))


def fit_temperature(logits: Tensor, labels: Tensor) -> float | None:
    """Fit the temperature that makes these labels most likely; None where no temperature is best.

    Formula: ``argmin_T mean_n -ln softmax(z_n / T)(y_n)``, by Newton steps on ``1 / T``, in which it is convex. There
    is no minimum where every label has the largest logit (the likelihood grows without bound as T falls), nor where
    the labels' logits are no larger than the average of all classes.

    Shapes: ``logits`` ``[N, K]``, ``labels`` ``[N]``.

    >>> logits = torch.tensor([[2.0, 0.0]]).expand(4, 2)  # three of four right: sigmoid(2 / T) = 3 / 4
    >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 6)
    1.820478
    >>> fit_temperature(logits, torch.tensor([0, 0, 0, 0])) is None
    True

    Source: Guo et al., arXiv 1706.04599, section 4.2.
    """
    z = logits.double()
    z = z - z.mean(1, keepdim=True)  # changes no probability, and rounds less
    labelled = z.gather(1, labels[:, None])[:, 0]
    rounding = 1e-12 * z.abs().max().item()
    if (z.amax(1) - labelled).mean().item() <= rounding or labelled.mean().item() <= rounding:
        return None

    def slopes(inverse: float) -> tuple[float, float]:
        """First and second derivative of the mean negative log-likelihood in ``1 / T``."""
        probs = (inverse * z).softmax(1)
        mean = (probs * z).sum(1)
        spread = (probs * (z - mean[:, None]) ** 2).sum(1)
        return (mean - labelled).mean().item(), spread.mean().item()

    low, high, inverse = 0.0, float("inf"), 1.0  # the minimum lies between: the slope is negative at low alone
    for _ in range(200):
        slope, curvature = slopes(inverse)
        low, high = (inverse, high) if slope < 0.0 else (low, inverse)
        proposal = inverse - slope / curvature if curvature > 0.0 else -1.0
        if abs(proposal - inverse) <= 1e-14 * inverse:
            break
        if not low < proposal < high:  # outside the bracket: expand it, or bisect
            proposal = 4.0 * inverse if high == float("inf") else (low + high) / 2.0
        inverse = min(proposal, 4.0 * inverse)  # far from the minimum a Newton step may overflow
    return 1.0 / inverse


def cross_fit(logits: Tensor, labels: Tensor, folds: int = FOLDS) -> Tensor | None:
    """For each sample, the temperature fitted on the samples of the other folds, ``[N]``; None where none fits.

    For a set that must serve both to fit and to measure: no sample is scaled by a temperature fitted on its own
    label. The folds are drawn from the size of the set alone, so all models measured on a set have the same folds.

    Shapes: ``logits`` ``[N, K]``, ``labels`` ``[N]``, N >= 2.

    >>> logits, labels = torch.tensor([[2.0, 0.0]]).expand(100, 2), torch.tensor([0, 0, 0, 1]).repeat(25)
    >>> before = cross_fit(logits, labels)
    >>> labels[7] = 1 - labels[7]
    >>> (cross_fit(logits, labels) == before).tolist()[7], before.unique().shape
    (True, torch.Size([5]))

    Source: ours; cross-fitting is common where no data can be set aside.
    """
    temperatures = torch.empty(len(logits), dtype=torch.float64)
    order = permutation(len(logits), _FOLD_KEY)
    for fold in range(min(folds, len(logits))):
        in_fold = torch.zeros(len(logits), dtype=torch.bool)
        in_fold[order[fold::folds]] = True
        temperature = fit_temperature(logits[~in_fold], labels[~in_fold])
        if temperature is None:
            return None
        temperatures[in_fold] = temperature
    return temperatures
