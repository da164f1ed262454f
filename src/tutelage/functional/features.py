"""Distances between feature maps of student and teacher, of each example by itself.

The caller first matches numbers of channels (with a learned regressor) or sizes (by pooling the larger map).
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutelage.functional._checks import check_alike, check_features, check_maps, check_positive, shape
from tutelage.functional._tensors import unit


def fitnet_hint(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Mean squared difference of features.

    Formula: ``mean((F^S - F^T)²)`` over all dimensions but the batch.

    Shapes: both ``[B, ...]``, the same; the result ``[B]``.

    Errors: ``ValueError`` for different shapes.

    >>> fitnet_hint(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]))
    tensor([5.])

    Source: Romero et al., "FitNets", arXiv 1412.6550 (there half the sum), as RepDistiller computes it.
    """
    check_alike("student_features", student_features, "teacher_features", teacher_features)
    check_features("student_features", student_features, "teacher_features", teacher_features)
    return (student_features - teacher_features).square().flatten(1).mean(1)


def attention_map(features: Tensor) -> Tensor:
    """The attention map of a layer: its mean squared activation at each position, at unit norm.

    Formula: ``Q = v / ||v||``, ``v(h, w) = 1/C Σ_c F(c, h, w)²``.

    Shapes: ``features`` ``[B, C, H, W]``; the result ``[B, H W]``; a map of zeros stays zero.

    Errors: ``ValueError`` for features that are not ``[B, C, H, W]``.

    >>> attention_map(torch.tensor([[[[3.0, 0.0]], [[1.0, 0.0]]]]))
    tensor([[1., 0.]])

    Source: Zagoruyko, Komodakis, "Paying more attention to attention", arXiv 1612.03928.
    """
    check_maps("features", features, "features", features)
    return unit(features.square().mean(1).flatten(1))


def attention_transfer(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Mean squared difference of attention maps.

    Formula: ``mean((Q^S - Q^T)²)`` over the positions, ``Q`` = :func:`attention_map`.

    Shapes: both ``[B, C, H, W]`` with the same B, H, W; the channels may differ; the result ``[B]``.

    Errors: ``ValueError`` for other shapes.

    >>> left, right = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 5.0]]]])
    >>> attention_transfer(left, right)
    tensor([1.])

    Source: Zagoruyko, Komodakis, "Paying more attention to attention", arXiv 1612.03928; mean of squares as in
    the official code.
    """
    check_maps("student_features", student_features, "teacher_features", teacher_features)
    return (attention_map(student_features) - attention_map(teacher_features)).square().mean(1)


def _polynomial_kernel(one: Tensor, other: Tensor) -> Tensor:
    return (one @ other.transpose(1, 2)).square().mean((1, 2))


def neuron_selectivity_transfer(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Squared maximum mean discrepancy between the channels of student and teacher.

    Formula: ``mean k(t, t) + mean k(s, s) - 2 mean k(s, t)``, ``k(a, b) = (a·b)²``, over all pairs of channels,
    each a vector of H W activations at unit norm.

    Shapes: both ``[B, C, H, W]`` with the same B, H, W; the channels may differ; the result ``[B]``.

    Errors: ``ValueError`` for other shapes.

    >>> left, right = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 5.0]]]])
    >>> neuron_selectivity_transfer(left, right)
    tensor([2.])

    Source: Huang, Wang, "Like what you like", arXiv 1707.01219, the polynomial kernel of degree 2 without constant.
    """
    check_maps("student_features", student_features, "teacher_features", teacher_features)
    student, teacher = unit(student_features.flatten(2)), unit(teacher_features.flatten(2))
    own = _polynomial_kernel(teacher, teacher) + _polynomial_kernel(student, student)
    return own - 2 * _polynomial_kernel(student, teacher)


def flow_matrix(first: Tensor, second: Tensor) -> Tensor:
    """The flow between two layers of a network: the inner products of their channels.

    Formula: ``G(i, j) = 1/(H W) Σ_hw F1(i, h, w) F2(j, h, w)``.

    Shapes: ``first`` ``[B, C1, H, W]``, ``second`` ``[B, C2, H, W]``; the result ``[B, C1, C2]``.

    Errors: ``ValueError`` for other shapes.

    >>> flow_matrix(torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[2.0, 0.0]], [[1.0, 1.0]]]]))
    tensor([[[1., 2.]]])

    Source: Yim et al., "A gift from knowledge distillation", CVPR 2017.
    """
    check_maps("first", first, "second", second)
    return first.flatten(2) @ second.flatten(2).transpose(1, 2) / (first.shape[2] * first.shape[3])


def flow_of_solution(
    student_first: Tensor, student_second: Tensor, teacher_first: Tensor, teacher_second: Tensor
) -> Tensor:
    """Mean squared difference between the flow matrices of student and teacher (FSP).

    Formula: ``mean((G^S - G^T)²)``, ``G`` = :func:`flow_matrix`.

    Shapes: four ``[B, C, H, W]``; the student's layers have as many channels as the teacher's, H and W are the
    same within a network; the result ``[B]``.

    Errors: ``ValueError`` for other shapes.

    >>> ones = torch.ones(1, 1, 2, 2)
    >>> flow_of_solution(ones, ones, ones, 3 * ones)
    tensor([4.])

    Source: Yim et al., "A gift from knowledge distillation", CVPR 2017 (there the sum).
    """
    student, teacher = flow_matrix(student_first, student_second), flow_matrix(teacher_first, teacher_second)
    check_alike("the student's flow", student, "the teacher's flow", teacher)
    return (student - teacher).square().mean((1, 2))


def variational_information(student_mean: Tensor, teacher_features: Tensor, variance: Tensor) -> Tensor:
    """Negative log-likelihood of the teacher's features under Gaussians that the student predicts (VID).

    Formula: ``1/2 mean((μ - F^T)² / σ_c² + ln σ_c²)``, without the constant ``1/2 ln 2π``.

    Shapes: ``student_mean`` = μ and ``teacher_features`` ``[B, C, ...]``, the same; ``variance`` = σ² ``[C]``, above
    0; the result ``[B]``, in nats.

    Errors: ``ValueError`` for other shapes.

    >>> variational_information(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]), torch.ones(2))
    tensor([2.5000])

    Source: Ahn et al., "Variational information distillation", arXiv 1904.05835 (there the sum).
    """
    check_alike("student_mean", student_mean, "teacher_features", teacher_features)
    check_features("student_mean", student_mean, "teacher_features", teacher_features)
    if variance.shape != student_mean.shape[1:2]:
        raise ValueError(f"variance must be [C] beside features {shape(student_mean)}, got {shape(variance)}")
    variance = variance.reshape(-1, *(1,) * (student_mean.dim() - 2))
    return 0.5 * ((student_mean - teacher_features).square() / variance + variance.log()).flatten(1).mean(1)


def activation_boundary(student_features: Tensor, teacher_features: Tensor, margin: float = 1.0) -> Tensor:
    """Squared distance of each neuron from the teacher's side of zero, with a margin (AB).

    Formula: ``Σ relu(m - s)² where t > 0, relu(m + s)² elsewhere``; ``s`` and ``t`` taken before the activation.

    Shapes: both ``[B, ...]``, the same; ``margin`` = m > 0; the result ``[B]``, a sum over all neurons.

    Errors: ``ValueError`` for different shapes or a margin not above 0.

    >>> activation_boundary(torch.tensor([[0.0, 2.0, 2.0]]), torch.tensor([[5.0, 5.0, -5.0]]))
    tensor([10.])

    Source: Heo et al., "Knowledge transfer via distillation of activation boundaries", arXiv 1811.03233.
    """
    check_alike("student_features", student_features, "teacher_features", teacher_features)
    check_features("student_features", student_features, "teacher_features", teacher_features)
    check_positive("margin", margin)
    shortfall = torch.where(teacher_features > 0, margin - student_features, margin + student_features).relu()
    return shortfall.square().flatten(1).sum(1)
