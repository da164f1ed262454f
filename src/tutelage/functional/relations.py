"""Distances between the relations among the examples of a batch, as student and teacher see them.

Each value belongs to one example: its row of the matrix of relations. All depend on the whole batch.
Features ``[B, ...]`` are flattened to vectors; those of student and teacher may differ in length.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad, smooth_l1_loss

from tutelage.functional._checks import check_alike, check_features, check_positive
from tutelage.functional._tensors import unit


def _vectors(student_features: Tensor, teacher_features: Tensor) -> tuple[Tensor, Tensor]:
    check_features("student_features", student_features, "teacher_features", teacher_features)
    return student_features.flatten(1), teacher_features.flatten(1)


def similarity_preserving(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Squared difference between the similarities of each example to all others (SP).

    Formula: ``1/B Σ_j (G^S_ij - G^T_ij)²``, ``G = Q Q'`` with rows at unit norm, ``Q`` the features.

    Shapes: both ``[B, ...]``; the result ``[B]``.

    Errors: ``ValueError`` for features of different batches or without a second dimension.

    >>> similarity_preserving(torch.tensor([[1.0], [1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    tensor([0.2929, 0.2929])

    Source: Tung, Mori, "Similarity-preserving knowledge distillation", arXiv 1907.09682.
    """
    student, teacher = _vectors(student_features, teacher_features)
    return (unit(student @ student.T) - unit(teacher @ teacher.T)).square().mean(1)


def _relative_distances(vectors: Tensor) -> Tensor:
    # The faster mode goes through inner products, which lose the digits of small distances.
    distances = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    mean = distances.sum() / (distances > 0).sum().clamp_min(1)
    return distances / torch.where(mean > 0, mean, 1.0)  # the mean is 0 if all examples are equal


def relational_distance(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Difference between the distances from each example to all others (RKD-D).

    Formula: ``1/B Σ_j smooth_l1(ψ^S_ij - ψ^T_ij)``, ``ψ_ij = ||x_i - x_j||`` divided by the mean of the distances
    that are not 0.

    Shapes: both ``[B, ...]``; the result ``[B]``.

    Errors: ``ValueError`` for features of different batches or without a second dimension.

    >>> relational_distance(torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [2.0], [4.0]]))
    tensor([0., 0., 0.])

    Source: Park et al., "Relational knowledge distillation", arXiv 1904.05068, the distance-wise loss.
    """
    student, teacher = _vectors(student_features, teacher_features)
    distances, target = _relative_distances(student), _relative_distances(teacher)
    return smooth_l1_loss(distances, target, reduction="none").mean(1)


def _angles(vectors: Tensor) -> Tensor:
    directions = unit(vectors[None] - vectors[:, None])
    return directions @ directions.transpose(1, 2)


def relational_angle(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Difference between the angles at each example, over all pairs of others (RKD-A).

    Formula: ``1/B² Σ_jk smooth_l1(c^S_ijk - c^T_ijk)``, ``c_ijk`` the cosine between ``x_j - x_i`` and
    ``x_k - x_i``, 0 if one of them is 0. Memory grows with ``B² (B + D)``.

    Shapes: both ``[B, ...]``; the result ``[B]``, the example being the vertex.

    Errors: ``ValueError`` for features of different batches or without a second dimension.

    >>> straight, bent = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]), torch.eye(3)
    >>> relational_angle(straight, bent).round(decimals=4)
    tensor([0.0278, 0.2222, 0.0278])

    Source: Park et al., "Relational knowledge distillation", arXiv 1904.05068, the angle-wise loss.
    """
    student, teacher = _vectors(student_features, teacher_features)
    return smooth_l1_loss(_angles(student), _angles(teacher), reduction="none").mean((1, 2))


def _neighbor_probs(vectors: Tensor) -> Tensor:
    vectors = vectors / (torch.linalg.vector_norm(vectors, dim=1, keepdim=True) + 1e-7)
    similarity = (vectors @ vectors.T + 1) / 2
    return similarity / similarity.sum(1, keepdim=True)


def probabilistic_transfer(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Divergence between the neighborhoods of each example, as distributions over the batch (PKT).

    Formula: ``1/B Σ_j t_ij ln((t_ij + 1e-7) / (s_ij + 1e-7))``, ``t`` and ``s`` = ``(cos + 1) / 2``, each row
    divided by its sum.

    Shapes: both ``[B, ...]``; the result ``[B]``, in nats. The paper takes the sum over j, this the mean.

    Errors: ``ValueError`` for features of different batches or without a second dimension.

    >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> probabilistic_transfer(features, 2 * features).abs().round(decimals=6)
    tensor([0., 0.])

    Source: Passalis, Tefas, "Learning deep representations with probabilistic knowledge transfer", arXiv 1803.10837,
    as RepDistiller computes it.
    """
    student, teacher = _vectors(student_features, teacher_features)
    probs, target = _neighbor_probs(student), _neighbor_probs(teacher)
    return (target * ((target + 1e-7) / (probs + 1e-7)).log()).mean(1)


def _gaussian_by_taylor(vectors: Tensor, gamma: float, order: int) -> Tensor:
    cosine = unit(vectors) @ unit(vectors).T
    terms = [(2 * gamma) ** p / math.factorial(p) * cosine**p for p in range(order + 1)]
    return math.exp(-2 * gamma) * torch.stack(terms).sum(0)


def correlation_congruence(
    student_features: Tensor, teacher_features: Tensor, gamma: float = 0.4, order: int = 2
) -> Tensor:
    """Squared difference between the correlations of each example with all others (CC).

    Formula: ``1/B Σ_j (k^S_ij - k^T_ij)²``, ``k = exp(-2γ) Σ_{p=0..P} (2γ)^p / p! (x_i·x_j)^p``: a Gaussian kernel
    of vectors at unit norm, as a Taylor series of ``order`` = P.

    Shapes: both ``[B, ...]``; the result ``[B]``.

    Errors: ``ValueError`` for features of different batches, ``gamma`` not above 0 or ``order`` below 1.

    >>> correlation_congruence(torch.eye(2), 5 * torch.eye(2))
    tensor([0., 0.])

    Source: Peng et al., "Correlation congruence for knowledge distillation", arXiv 1904.01802; γ and P from
    public re-implementations.
    """
    check_positive("gamma", gamma)
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")
    student, teacher = _vectors(student_features, teacher_features)
    difference = _gaussian_by_taylor(student, gamma, order) - _gaussian_by_taylor(teacher, gamma, order)
    return difference.square().mean(1)


def official_correlation_congruence(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """The product of the errors of each example and the next one: CC as in the authors' code.

    Formula: ``B/(B-1) Σ_d |D_i| |D_{i+1}|``, ``D = f^S - f^T``; 0 for the last example. The mean over the batch is
    the mean over its B - 1 pairs of neighbors, so the order of the batch matters.

    Shapes: both ``[B, ...]``, the same; the result ``[B]``.

    Errors: ``ValueError`` for different shapes.

    >>> official_correlation_congruence(torch.tensor([[1.0], [2.0], [3.0]]), torch.zeros(3, 1))
    tensor([3., 9., 0.])

    Source: the authors' code for Peng et al., arXiv 1904.01802, in RepDistiller.
    """
    check_alike("student_features", student_features, "teacher_features", teacher_features)
    student, teacher = _vectors(student_features, teacher_features)
    errors = (student - teacher).abs()
    products = (errors[:-1] * errors[1:]).sum(1)
    return pad(products, (0, 1)) * (len(errors) / max(len(errors) - 1, 1))
