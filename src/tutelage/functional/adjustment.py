"""Knowledge adjustment: correct a teacher's distribution if its best class is wrong, and only then."""

from __future__ import annotations

import torch
from torch import Tensor

from tutelage.functional._checks import check_labels, check_matrix
from tutelage.functional.distributions import smooth_labels


def shift_probabilities(probs: Tensor, labels: Tensor) -> Tensor:
    """Swap the label's score with the highest one, so that the label has the highest (PS).

    Formula: ``p'(y) = p(a)``, ``p'(a) = p(y)``, ``a = argmax p``; nothing changes where ``a = y``.

    Shapes: ``probs`` and the result ``[B, K]``; ``labels`` ``[B]``, class indices. Swapping logits before the softmax
    gives the same. Among equal maxima ``a`` is the one that ``torch.argmax`` returns.

    Errors: ``ValueError`` for other shapes, ``TypeError`` for labels that are not integers.

    >>> shift_probabilities(torch.tensor([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3]]), torch.tensor([2, 1]))
    tensor([[0.2000, 0.3000, 0.5000],
            [0.2000, 0.5000, 0.3000]])

    Source: Wen, Lai, Qian, "Preparing lessons", arXiv 1911.07471.
    """
    check_matrix("probs", probs)
    check_labels(labels, probs)
    label, highest = labels[:, None].long(), probs.argmax(-1, keepdim=True)
    return probs.scatter(1, highest, probs.gather(1, label)).scatter(1, label, probs.gather(1, highest))


def smooth_wrong(probs: Tensor, labels: Tensor, smoothing: float = 0.1) -> Tensor:
    """Replace the distributions whose best class is wrong by smoothed labels (LS).

    Formula: ``p' = p where argmax p = y, else (1 - ε) 1[k = y] + ε / K``.

    Shapes: ``probs`` and the result ``[B, K]``; ``labels`` ``[B]``, class indices; ``smoothing`` = ε in
    ``[0, 1]``. The replacement is not tempered.

    Errors: ``ValueError`` for other shapes or a smoothing outside ``[0, 1]``, ``TypeError`` for labels that are
    not integers.

    >>> smooth_wrong(torch.tensor([[0.2, 0.8], [0.2, 0.8]]), torch.tensor([0, 1]), smoothing=0.2)
    tensor([[0.9000, 0.1000],
            [0.2000, 0.8000]])

    Source: Wen, Lai, Qian, "Preparing lessons", arXiv 1911.07471.
    """
    check_matrix("probs", probs)
    check_labels(labels, probs)
    wrong = (probs.argmax(-1) != labels)[:, None]
    return torch.where(wrong, smooth_labels(labels, probs.shape[1], smoothing, probs.dtype), probs)
