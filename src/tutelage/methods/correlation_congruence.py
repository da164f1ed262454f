"""Peng et al.: Correlation Congruence for Knowledge Distillation (arXiv 1904.01802, ICCV 2019).

Paper and authors' code differ: the paper compares correlations among the examples of a batch, the code multiplies
the errors of neighboring examples.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from tutelage import functional
from tutelage.objective import (
    Constant,
    FeatureDistance,
    FeatureMatch,
    Layers,
    Objective,
    beside_labels,
    distance_name,
    layer_pairs,
    number,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianCorrelation:
    """:func:`tutelage.functional.correlation_congruence` with its parameters set.

    >>> import torch
    >>> GaussianCorrelation(gamma=0.4)(torch.eye(2), torch.eye(2))
    tensor([0., 0.])
    """

    gamma: float = 0.4
    order: int = 2

    def __call__(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The distance between the correlations of each example, ``[B]``."""
        return functional.correlation_congruence(student, teacher, self.gamma, self.order)

    def __str__(self) -> str:
        return f"correlation_congruence[gamma {number(self.gamma)}, order {self.order}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A distance between learned linear embeddings of both features; no gradient reaches the teacher's features.

    Source: the authors' code for arXiv 1904.01802, in RepDistiller: a linear layer for each, 128 outputs.
    """

    distance: FeatureDistance
    size: int = 128

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"an embedding has a size of at least 1, not {self.size}")

    def build(self, student: Tensor, teacher: Tensor) -> nn.Module:
        """Make the distance for features of these shapes."""
        return _Embedded(student, teacher, self)

    def __str__(self) -> str:
        return f"{distance_name(self.distance)}[embedded in {self.size}]"


class _Embedded(nn.Module):
    def __init__(self, student: Tensor, teacher: Tensor, description: Embedded) -> None:
        super().__init__()
        self.student = nn.Linear(student[0].numel(), description.size)
        self.teacher = nn.Linear(teacher[0].numel(), description.size)
        self.distance = description.distance

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.distance(self.student(student.flatten(1)), self.teacher(teacher.flatten(1)))


def correlation_congruence(
    *, weight: float = 100.0, gamma: float = 0.4, order: int = 2, layers: Layers = ("flatten",)
) -> Objective:
    """CC: labels, and the correlations among the examples of a batch.

    Formula: ``H(e_y, p) + w mean_ij (k^S_ij - k^T_ij)^2``, ``k = exp(-2 g) sum_{p=0..P} (2 g)^p / p! (x_i . x_j)^p``:
    a Gaussian kernel of features at unit norm, as a Taylor series, ``g = gamma``, ``P = order``. Shapes may differ.

    >>> print(correlation_congruence())
    H(labels, student) + 100 correlation_congruence[gamma 0.4, order 2](flatten)

    Source: arXiv 1904.01802; all values from the Knowledge-Distillation-Zoo code, a re-implementation.
    """
    distance = GaussianCorrelation(gamma=gamma, order=order)
    correlation = FeatureMatch(
        name="correlation", layers=layer_pairs(layers), distance=distance, weight=Constant(weight), pooled=False
    )
    return beside_labels(1.0, correlation)


def correlation_congruence_official(
    *, weight: float = 0.02, embedding: int = 128, layers: Layers = ("flatten",)
) -> Objective:
    """CC as in the authors' code: labels, and the product of the errors of neighboring examples.

    Formula: ``H(e_y, p) + w mean_i sum_d |D_i| |D_{i+1}|``, ``D = e^S(F^S) - e^T(F^T)``, both learned linear
    embeddings of the same size, trained beside the student. The order of the batch matters.

    >>> print(correlation_congruence_official())
    H(labels, student) + 0.02 official_correlation_congruence[embedded in 128](flatten)

    Source: the authors' code for arXiv 1904.01802, in RepDistiller.
    """
    distance = Embedded(distance=functional.official_correlation_congruence, size=embedding)
    correlation = FeatureMatch(
        name="correlation", layers=layer_pairs(layers), distance=distance, weight=Constant(weight), pooled=False
    )
    return beside_labels(1.0, correlation)
