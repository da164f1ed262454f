"""Dynamic temperature distillation: the more confusing a sample, the sharper its target."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from tutelage.functional._checks import check_matrix, check_pair, check_positive, shape


def focal_weights(student_logits: Tensor, teacher_logits: Tensor, power: float = 1.0) -> Tensor:
    """Weight each sample by the angle between the student's and the teacher's logits (FLSW).

    Formula: ``w = (1 - v·t)^γ``, ``v`` and ``t`` the logits of student and teacher at unit norm (norms below 1e-8
    count as 1e-8); ``1 - v·t`` is at least 0 whatever the rounding.

    Shapes: both logits ``[B, K]``; ``power`` = γ >= 0; the result ``[B]``, from 0 to ``2^γ``.

    Errors: ``ValueError`` for different shapes or a negative power.

    >>> focal_weights(torch.tensor([[3.0, 0.0], [3.0, 0.0]]), torch.tensor([[5.0, 0.0], [0.0, 1.0]]))
    tensor([0., 1.])

    Source: Wen, Lai, Qian, "Preparing lessons", arXiv 1911.07471; unit norms are our reading.
    """
    check_pair("student_logits", student_logits, "teacher_logits", teacher_logits)
    if not power >= 0:
        raise ValueError(f"power must be at least 0, got {power}")
    cosine = torch.cosine_similarity(student_logits, teacher_logits, dim=-1, eps=1e-8)
    return (1.0 - cosine).clamp_min(0.0) ** power


def student_max_weights(student_logits: Tensor) -> Tensor:
    """Weight each sample by how unsure the student is (CWSM).

    Formula: ``w = 1 / max_k softmax(z)(k)``.

    Shapes: ``student_logits`` ``[B, K]``; the result ``[B]``, from 1 to K.

    Errors: ``ValueError`` for logits that are not ``[B, K]``.

    >>> student_max_weights(torch.tensor([[0.0, 0.0], [0.0, 100.0]]))
    tensor([2., 1.])

    Source: Wen, Lai, Qian, "Preparing lessons", arXiv 1911.07471.
    """
    check_matrix("student_logits", student_logits)
    return 1.0 / student_logits.softmax(-1).amax(-1)


def sample_temperature(
    weights: Tensor,
    base: float,
    bias: float,
    normalize: Literal["none", "sum", "mean"] = "none",
    floor: float | None = 1.0,
) -> Tensor:
    """A temperature for each sample of a batch, lower for those whose weight is above the mean.

    Formula: ``τ_x = max(floor, τ_0 + β (mean_j w_j - w_x))``, ``w`` as passed in, or divided by its sum or mean.

    Shapes: ``weights`` ``[B]``, not negative; ``base`` = τ_0 > 0 and ``bias`` = β are numbers; the result
    ``[B]``. Before the floor its mean is ``base``. With "sum" the weights are of order 1/B, so ``bias`` has to
    grow with B.

    Errors: ``ValueError`` for weights that are not ``[B]``, an unknown ``normalize``, a base or floor not above 0.

    >>> sample_temperature(torch.tensor([0.0, 1.0]), base=4.0, bias=2.0)
    tensor([5., 3.])
    >>> sample_temperature(torch.tensor([0.0, 4.0]), base=4.0, bias=2.0)
    tensor([8., 1.])

    Source: Wen, Lai, Qian, "Preparing lessons", arXiv 1911.07471; the floor is ours.
    """
    if weights.dim() != 1:
        raise ValueError(f"weights must be [B], got {shape(weights)}")
    check_positive("base", base)
    if normalize == "sum":
        weights = _over(weights, weights.sum())
    elif normalize == "mean":
        weights = _over(weights, weights.mean())
    elif normalize != "none":
        raise ValueError(f"normalize must be 'none', 'sum' or 'mean', got {normalize!r}")
    temperature = base + bias * (weights.mean() - weights)
    if floor is None:
        return temperature
    check_positive("floor", floor)
    return temperature.clamp_min(floor)


def _over(weights: Tensor, whole: Tensor) -> Tensor:
    # If all weights are 0, as student and teacher agree everywhere, the result is the base and not NaN.
    return weights / whole.clamp_min(torch.finfo(weights.dtype).tiny)
