"""Tolerant teachers: the score difference, and the label score at the optimum of each regularizer."""

from __future__ import annotations

import math

from torch import Tensor

from tutelage.functional._checks import check_between, check_classes, check_matrix, check_positive


def score_difference(logits: Tensor, k: int = 5) -> Tensor:
    """The highest score minus the mean of the next ``k - 1``.

    Formula: ``D_K(f) = f_{a1} - 1/(K-1) Σ_{j=2..K} f_{aj}``, ``f = softmax(z)``, ``a_j`` the class of the j-th
    largest score of the prediction itself (not the label). The gradient passes through the scores, not the order.

    Shapes: ``logits`` ``[B, C]``; ``k`` from 2 to C; the result ``[B]``, from 0 to 1.

    Errors: ``ValueError`` for logits that are not ``[B, C]`` and for ``k`` outside ``[2, C]``.

    >>> import torch
    >>> score_difference(torch.tensor([[0.5, 0.3, 0.1, 0.1]]).log(), k=3)
    tensor([0.3000])

    Source: Yang, Xie, Qiao, Yuille, "Knowledge distillation in generations", arXiv 1805.05551 v1, the second
    term of eq. 3.
    """
    check_matrix("logits", logits)
    if not 2 <= k <= logits.shape[1]:
        raise ValueError(f"k must be from 2 to the number of classes, {logits.shape[1]}, got {k}")
    top = logits.softmax(-1).topk(k, dim=-1).values
    return top[:, 0] - top[:, 1:].mean(-1)


def score_difference_by_share(logits: Tensor, share: float, max_k: int | None = None) -> Tensor:
    """The highest score minus the mean of those near it, however many these are.

    Formula: ``f_{a1} - mean {f_{aj} : j >= 2, f_{aj} > s f_{a1}}``, ``f = softmax(z)``, ``a_j`` the class of the j-th
    largest score, s = ``share``. The second highest always counts, those after the ``max_k`` highest never do.
    The gradient passes through the scores, not through the selection.

    Shapes: ``logits`` ``[B, C]``, C >= 2; ``share`` in ``(0, 1]``, at 1 only the second highest counts; ``max_k`` at
    least 2, without effect above C; the result ``[B]``, from 0 to 1.

    Errors: ``ValueError`` for logits that are not ``[B, C]`` with C >= 2, and a ``share`` or ``max_k`` out of range.

    >>> import torch
    >>> score_difference_by_share(torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.9, 0.06, 0.03, 0.01]]).log(), share=0.2)
    tensor([0.2750, 0.8400])

    Source: ours; a k for each sample is announced without a formula by Yang, Xie, Qiao, Yuille, arXiv 1805.05551 v1.
    """
    check_matrix("logits", logits)
    num_classes = logits.shape[1]
    check_classes(num_classes, least=2)
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share must be in (0, 1], got {share}")
    if max_k is not None and max_k < 2:
        raise ValueError(f"max_k must be at least 2, got {max_k}")
    top = logits.softmax(-1).topk(min(max_k or num_classes, num_classes), dim=-1).values
    best, others = top[:, 0], top[:, 1:]
    counted = others > share * best[:, None]
    counted[:, 0] = True
    return best - (others * counted).sum(-1) / counted.sum(-1)


def _check_k(k: int) -> None:
    if k < 2:
        raise ValueError(f"k must be at least 2, got {k}")


def primary_for_tolerance(eta: float, k: int) -> float:
    """The label score at the optimum of cross-entropy mixed with the score difference.

    Formula: ``u(η) = clip((K-1)(1-η) / (K η), 1/K, 1)``, the optimum of ``-(1-η) ln f_y + η D_K``.

    Units: ``eta``, the weight of the score difference, in ``[0, 1)``; returns a score in ``[1/k, 1]``. Up to
    ``(K-1)/(2K-1)`` the term changes nothing; from ``(K-1)/K`` on, all ``k`` scores are equal.

    Errors: ``ValueError`` for ``eta`` outside ``[0, 1)`` (at 1 nothing depends on the label) or ``k < 2``.

    >>> round(primary_for_tolerance(4 / 7, k=5), 6)
    0.6

    Source: derived from eq. 3 of Yang, Xie, Qiao, Yuille, arXiv 1805.05551 v1; the paper does not write u out.
    """
    _check_k(k)
    if not 0.0 <= eta < 1.0:
        raise ValueError(f"eta must be in [0, 1), got {eta}")
    if eta == 0.0:
        return 1.0
    return min(max((k - 1) * (1 - eta) / (k * eta), 1 / k), 1.0)


def tolerance_for_primary(primary: float, k: int) -> float:
    """The weight of the score difference that leads to a chosen label score.

    Formula: ``η(p) = (K-1) / (K-1 + K p)``, the inverse of :func:`primary_for_tolerance` on ``[1/K, 1)``, and
    ``η(1) = 0``. Every weight up to ``(K-1)/(2K-1)`` has its optimum at 1; of these, 0 is plain cross-entropy, the
    ``D(1.0, λ)`` of the paper.

    Units: ``primary``, a score in ``[1/k, 1]``; returns the weight of the first version of the paper (the second
    version calls ``1 - η`` what the first calls ``η``).

    Errors: ``ValueError`` for ``primary`` outside ``[1/k, 1]`` or ``k < 2``.

    >>> round(tolerance_for_primary(0.6, k=5), 6), tolerance_for_primary(1.0, k=5)
    (0.571429, 0.0)

    Source: derived from eq. 3 of Yang, Xie, Qiao, Yuille, arXiv 1805.05551 v1.
    """
    _check_k(k)
    check_between("primary", primary, 1 / k, 1.0)
    return 0.0 if primary == 1.0 else (k - 1) / (k - 1 + k * primary)


def next_primary(primary: float, teacher_weight: float) -> float:
    """The label score of a student at its optimum, from that of its teacher.

    Formula: ``p' = 1 - λ (1 - p)``: the optimum of ``(1-λ) H(e_y, f) + λ KL(f^T || f)`` is ``(1-λ) e_y + λ f^T``.

    Units: ``primary`` p and ``teacher_weight`` λ in ``[0, 1]``; returns a score.

    Errors: ``ValueError`` for either outside ``[0, 1]``.

    >>> round(next_primary(0.6, teacher_weight=0.6), 6)
    0.76

    Source: derived from eq. 4 of Yang, Xie, Qiao, Yuille, arXiv 1805.05551 v1.
    """
    check_between("primary", primary, 0.0, 1.0)
    check_between("teacher_weight", teacher_weight, 0.0, 1.0)
    return 1.0 - teacher_weight * (1.0 - primary)


def smoothing_for_primary(primary: float, num_classes: int) -> float:
    """The label smoothing (``ε/K`` form) whose target gives the label a chosen score.

    Formula: ``ε = (1 - p) / (1 - 1/K)``, from ``p = 1 - ε + ε/K``.

    Units: ``primary`` p, a score in ``[1/K, 1]``; returns a smoothing in ``[0, 1]``.

    Errors: ``ValueError`` for ``primary`` outside ``[1/K, 1]`` or fewer than two classes.

    >>> round(smoothing_for_primary(0.6, 100), 6)
    0.40404

    Source: derived; matches a label-smoothed patriarch to a tolerant one.
    """
    check_classes(num_classes, least=2)
    check_between("primary", primary, 1 / num_classes, 1.0)
    return (1.0 - primary) * num_classes / (num_classes - 1)


def penalty_for_primary(primary: float, num_classes: int) -> float:
    """The weight of the confidence penalty that leads to a chosen label score.

    Formula: ``β(p) = 1 / (p ln(p (K-1) / (1-p)))``, from the optimum of ``H(e_y, f) - β H(f)``; ``β(1) = 0``.

    Units: ``primary`` p, a score in ``(1/K, 1]``; the closer to ``1/K``, the larger the weight.

    Errors: ``ValueError`` for ``primary`` outside ``(1/K, 1]`` or fewer than two classes.

    >>> round(penalty_for_primary(0.6, 100), 6)
    0.333294

    Source: derived; matches a patriarch with a confidence penalty to a tolerant one.
    """
    check_classes(num_classes, least=2)
    if not 1 / num_classes < primary <= 1.0:
        raise ValueError(f"primary must be in (1/{num_classes}, 1], got {primary}")
    return 0.0 if primary == 1.0 else 1.0 / _inverse_penalty(primary, num_classes)


def _inverse_penalty(primary: float, num_classes: int) -> float:
    return primary * math.log(primary * (num_classes - 1) / (1.0 - primary))


def primary_for_penalty(beta: float, num_classes: int) -> float:
    """The label score at the optimum of cross-entropy with a confidence penalty.

    Formula: the inverse of :func:`penalty_for_primary`, computed by bisection to the last bit.

    Units: ``beta`` >= 0; returns a score in ``[1/K, 1]``.

    Errors: ``ValueError`` for a ``beta`` that is negative or not finite, or fewer than two classes.

    >>> round(primary_for_penalty(0.333294, 100), 5)
    0.6

    Source: derived; see :func:`penalty_for_primary`.
    """
    check_classes(num_classes, least=2)
    if beta == 0.0:
        return 1.0
    check_positive("beta", beta)
    low, high = 1 / num_classes, 1.0
    while low < (middle := (low + high) / 2) < high:
        if beta * _inverse_penalty(middle, num_classes) < 1.0:  # the inverse grows with the score
            low = middle
        else:
            high = middle
    return middle
