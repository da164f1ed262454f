"""Target distributions: softened logits, tempered probabilities, smoothed labels, virtual teachers."""

from __future__ import annotations

import torch
from torch import Tensor

from tutelage.functional._checks import (
    check_between,
    check_classes,
    check_labels,
    check_matrix,
    check_positive,
    shape,
)


def per_sample(value: float | Tensor, like: Tensor) -> Tensor:
    """Shape a scalar, of the whole batch or of each sample, so that it broadcasts over the rows of ``like``.

    Formula: ``v -> v`` for one number, ``v -> v[:, None]`` for one number per sample.

    Shapes: ``value`` a number, ``[]`` or ``[B]``; ``like`` ``[B, K]``; the result ``[]`` or ``[B, 1]`` in the dtype
    and on the device of ``like``.

    Errors: ``ValueError`` for any other shape; ``[B, 1]`` against ``[B]`` would silently become ``[B, B]``.

    >>> per_sample(4.0, torch.zeros(2, 3))
    tensor(4.)
    >>> per_sample(torch.tensor([1.0, 2.0]), torch.zeros(2, 3))
    tensor([[1.],
            [2.]])

    Source: ours; the shape rule for temperatures and weights.
    """
    if not isinstance(value, Tensor):
        return like.new_full((), value)  # a fill, not a copy from the host, which would have to wait for the device
    if value.dim() == 0:
        return value.to(like)
    if value.shape != like.shape[:1]:
        raise ValueError(
            f"a scalar must be [] or [B] = [{like.shape[0]}] beside {shape(like)}, got {shape(value)}; "
            "a scalar [B, 1] would broadcast against values [B] to [B, B]"
        )
    return value.to(like)[:, None]


def tempered_logits(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Divide logits by a temperature.

    Formula: ``z / τ``.

    Shapes: ``logits`` and the result ``[B, K]``; ``temperature`` a number, ``[]`` or ``[B]``.

    Errors: ``ValueError`` for logits that are not ``[B, K]``, for a temperature of another shape and for a plain
    number that is not above 0 (the values of a tensor are not read).

    >>> tempered_logits(torch.tensor([[2.0, 4.0], [3.0, 9.0]]), torch.tensor([2.0, 3.0]))
    tensor([[1., 2.],
            [1., 3.]])

    Source: Hinton, Vinyals, Dean, arXiv 1503.02531, eq. 1.
    """
    check_matrix("logits", logits)
    if not isinstance(temperature, Tensor):
        check_positive("temperature", temperature)
    return logits / per_sample(temperature, logits)


def soften(logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """Softmax at a temperature.

    Formula: ``p_τ(k) = exp(z_k / τ) / Σ_j exp(z_j / τ)``.

    Shapes: ``logits`` and the result ``[B, K]``; ``temperature`` a number, ``[]`` or ``[B]``.

    Errors: those of :func:`tempered_logits`.

    >>> soften(torch.tensor([[0.0, 2.0]]).log(), temperature=2.0)
    tensor([[0., 1.]])

    Source: Hinton, Vinyals, Dean, arXiv 1503.02531, eq. 1.
    """
    return tempered_logits(logits, temperature).softmax(-1)


def temper(probs: Tensor, temperature: float | Tensor) -> Tensor:
    """Flatten (``τ > 1``) or sharpen (``τ < 1``) a distribution; entries that are zero stay zero.

    Formula: ``p_τ(k) = p(k)^(1/τ) / Σ_j p(j)^(1/τ) = softmax(ln p / τ)``.

    Shapes: ``probs`` and the result ``[B, K]``; ``temperature`` a number, ``[]`` or ``[B]``.

    Errors: those of :func:`tempered_logits`.

    >>> temper(torch.tensor([[0.8, 0.2, 0.0]]), temperature=2.0)
    tensor([[0.6667, 0.3333, 0.0000]])

    Source: the same distribution as the softened logits of Hinton, Vinyals, Dean, arXiv 1503.02531, eq. 1.
    """
    check_matrix("probs", probs)
    return soften(probs.log(), temperature)


def _label_rows(labels: Tensor, num_classes: int, label: float, other: float, dtype: torch.dtype) -> Tensor:
    check_labels(labels)
    rows = torch.full((labels.shape[0], num_classes), other, dtype=dtype, device=labels.device)
    return rows.scatter_(1, labels[:, None].long(), label)


def one_hot(labels: Tensor, num_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Labels as distributions.

    Formula: ``e_y(k) = 1[k = y]``.

    Shapes: ``labels`` ``[B]``, class indices; the result ``[B, K]``, K = ``num_classes``.

    Errors: ``ValueError`` for labels that are not ``[B]``, ``TypeError`` for labels that are not integers.

    >>> one_hot(torch.tensor([1, 0]), 3)
    tensor([[0., 1., 0.],
            [1., 0., 0.]])

    Source: none needed.
    """
    check_classes(num_classes)
    return _label_rows(labels, num_classes, 1.0, 0.0, dtype)


def smooth_labels(labels: Tensor, num_classes: int, smoothing: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Mix labels with the uniform distribution over all classes, the label's own included.

    Formula: ``q(k) = (1 - ε) 1[k = y] + ε / K``.

    Shapes: ``labels`` ``[B]``, class indices; ``smoothing`` = ε in ``[0, 1]``; the result ``[B, K]``.

    Errors: those of :func:`one_hot`; ``ValueError`` for a smoothing outside ``[0, 1]``.

    >>> smooth_labels(torch.tensor([1]), 4, smoothing=0.2)
    tensor([[0.0500, 0.8500, 0.0500, 0.0500]])

    Source: Szegedy et al., CVPR 2016, section 7; Yuan et al., arXiv 1909.11723, eq. 1.
    """
    check_classes(num_classes)
    check_between("smoothing", smoothing, 0.0, 1.0)
    other = smoothing / num_classes
    return _label_rows(labels, num_classes, 1.0 - smoothing + other, other, dtype)


def smooth_other_labels(
    labels: Tensor, num_classes: int, smoothing: float, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Mix labels with the uniform distribution over the other classes.

    Formula: ``q(k) = 1 - ε if k = y else ε / (K - 1)``: :func:`smooth_labels` with smoothing ``ε K / (K - 1)``.

    Shapes: ``labels`` ``[B]``, class indices; ``smoothing`` = ε in ``[0, 1]``; the result ``[B, K]``, K >= 2.

    Errors: those of :func:`one_hot`; ``ValueError`` for a smoothing outside ``[0, 1]`` or fewer than two classes.

    >>> smooth_other_labels(torch.tensor([1]), 5, smoothing=0.2)
    tensor([[0.0500, 0.8000, 0.0500, 0.0500, 0.0500]])

    Source: ``loss_label_smoothing`` of the official code of Yuan et al., arXiv 1909.11723.
    """
    check_classes(num_classes, least=2)
    check_between("smoothing", smoothing, 0.0, 1.0)
    return _label_rows(labels, num_classes, 1.0 - smoothing, smoothing / (num_classes - 1), dtype)


def virtual_teacher(
    labels: Tensor, num_classes: int, correct: float = 0.99, dtype: torch.dtype = torch.float32
) -> Tensor:
    """A virtual teacher, which is always right and spreads the rest evenly over the other classes.

    Formula: ``p^d(k) = a if k = y else (1 - a) / (K - 1)``.

    Shapes: ``labels`` ``[B]``, class indices; ``correct`` = a in ``(0, 1)``; the result ``[B, K]``, K >= 2.

    Errors: those of :func:`one_hot`; ``ValueError`` for ``correct`` outside ``(0, 1)`` or fewer than two classes.

    >>> virtual_teacher(torch.tensor([0]), 3, correct=0.9)
    tensor([[0.9000, 0.0500, 0.0500]])

    Source: Yuan et al., "Revisiting knowledge distillation via label smoothing", arXiv 1909.11723, eq. 8.
    """
    check_classes(num_classes, least=2)
    if not 0.0 < correct < 1.0:
        raise ValueError(f"correct must be in (0, 1), got {correct}")
    return _label_rows(labels, num_classes, correct, (1.0 - correct) / (num_classes - 1), dtype)


def official_virtual_teacher(
    labels: Tensor,
    num_classes: int,
    correct: float = 0.99,
    temperature: float | Tensor = 20.0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The virtual teacher as softened in its authors' code, which takes probabilities for logits.

    Formula: ``softmax(p^d / τ)``, much flatter than the tempered distribution ``softmax(ln p^d / τ)``.

    Shapes: those of :func:`virtual_teacher`; ``temperature`` a number, ``[]`` or ``[B]``.

    Errors: those of :func:`virtual_teacher` and :func:`tempered_logits`.

    >>> official_virtual_teacher(torch.tensor([0]), 4, temperature=20.0)
    tensor([[0.2594, 0.2469, 0.2469, 0.2469]])
    >>> temper(virtual_teacher(torch.tensor([0]), 4), temperature=20.0)
    tensor([[0.3071, 0.2310, 0.2310, 0.2310]])

    Source: ``loss_kd_regularization`` of the official code of Yuan et al., arXiv 1909.11723.
    """
    return soften(virtual_teacher(labels, num_classes, correct, dtype), temperature)
