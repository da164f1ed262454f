"""Whether a network is as often right as it says: reliability, and the temperature that would mend it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tutelage.functional import permutation

FOLDS = 5
_FOLD_KEY = 0x5CA1E  # the draw that deals a set into folds: the same for every model of the same set


class Reliability(NamedTuple):
    """A reliability diagram: for each bin of confidence how many images, their mean confidence and accuracy.

    All ``[bins]``; the last two are NaN where ``images`` is 0.
    """

    images: Tensor
    confidence: Tensor
    accuracy: Tensor


def reliability(logits: Tensor, labels: Tensor, bins: int = 15) -> Reliability:
    """The data of a reliability diagram over equal bins of confidence.

    Formula: bin b holds the samples with ``max softmax(z)`` in ``((b - 1) / bins, b / bins]``; the ECE is
    ``sum_b n_b / N |acc_b - conf_b|``.

    Shapes: ``logits`` ``[N, K]``, ``labels`` ``[N]``.

    >>> found = reliability(torch.tensor([[0.6, 0.4], [0.9, 0.1]]).log(), torch.tensor([0, 1]), bins=2)
    >>> found.images.tolist(), round(found.confidence[1].item(), 6), found.accuracy[1].item()
    ([0, 2], 0.75, 0.5)

    Source: Guo et al., arXiv 1706.04599, Eqs. 1 to 3.
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    which = torch.bucketize(confidence, torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1])
    right = (predicted == labels).double()
    count = torch.bincount(which, minlength=bins)
    sums = [torch.zeros(bins, dtype=torch.float64).index_add_(0, which, values) for values in (confidence, right)]
    return Reliability(count, *(total / count for total in sums))


def fit_temperature(logits: Tensor, labels: Tensor) -> float | None:
    """The temperature at which these logits are most likely to have these labels; None where there is no such one.

    Formula: ``argmin_T mean_n -ln softmax(z_n / T)(y_n)``, by Newton steps on ``1 / T``, in which it is convex. There
    is none where each label has the largest logit (the likelihood grows for ever as T falls), nor where labels have
    no larger logits than the average class.

    Shapes: ``logits`` ``[N, K]``, ``labels`` ``[N]``.

    >>> logits = torch.tensor([[2.0, 0.0]]).expand(4, 2)  # three of four right: sigmoid(2 / T) = 3 / 4
    >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 6)
    1.820478
    >>> fit_temperature(logits, torch.tensor([0, 0, 0, 0])) is None
    True

    Source: Guo et al., arXiv 1706.04599, section 4.2.
    """
    z = logits.double()
    z = z - z.mean(1, keepdim=True)  # the likelihood does not see it, and the steps round less
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

    low, high, inverse = 0.0, float("inf"), 1.0  # the slope is below 0 at low and not at high
    for _ in range(200):
        slope, bend = slopes(inverse)
        low, high = (inverse, high) if slope < 0.0 else (low, inverse)
        step = inverse - slope / bend if bend > 0.0 else -1.0
        if abs(step - inverse) <= 1e-14 * inverse:
            break
        if not low < step < high:
            step = 4.0 * inverse if high == float("inf") else (low + high) / 2.0
        inverse = min(step, 4.0 * inverse)  # far from the minimum a step may leap beyond what numbers hold
    return 1.0 / inverse


def cross_fit(logits: Tensor, labels: Tensor, folds: int = FOLDS) -> Tensor | None:
    """For each sample the temperature that fits the samples of the other folds, ``[N]``; None where none fits.

    For a set that has to be both fitted and measured: no sample gets a temperature that saw its label. Which sample
    is in which fold is drawn from the size of the set alone, so that models of one set have the same folds.

    Shapes: ``logits`` ``[N, K]``, ``labels`` ``[N]``, N >= 2.

    >>> logits, labels = torch.tensor([[2.0, 0.0]]).expand(100, 2), torch.tensor([0, 0, 0, 1]).repeat(25)
    >>> before = cross_fit(logits, labels)
    >>> labels[7] = 1 - labels[7]
    >>> (cross_fit(logits, labels) == before).tolist()[7], before.unique().shape
    (True, torch.Size([5]))

    Source: ours; cross-fitting is common where no part of a set can be spared.
    """
    found = torch.empty(len(logits), dtype=torch.float64)
    order = permutation(len(logits), _FOLD_KEY)
    for part in range(min(folds, len(logits))):
        held = torch.zeros(len(logits), dtype=torch.bool)
        held[order[part::folds]] = True
        temperature = fit_temperature(logits[~held], labels[~held])
        if temperature is None:
            return None
        found[held] = temperature
    return found
