"""Ahn et al.: Variational Information Distillation for Knowledge Transfer (arXiv 1904.05835, CVPR 2019)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tutelage import functional
from tutelage.objective import (
    Constant,
    FeatureMatch,
    Layers,
    Objective,
    beside_labels,
    layer_pairs,
    number,
    pointwise,
)

_FLOOR = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedGaussian:
    """A Gaussian for each channel of the teacher; the student predicts its mean, and its variance is learned.

    Formula: :func:`tutelage.functional.variational_information`, ``mu`` three 1x1 convolutions with ReLU between (of
    vectors: linear layers), as wide as the teacher, ``sigma_c^2 = ln(1 + e^a_c) + 1e-5``, initially ``variance``.

    Errors: ``ValueError`` for a variance that is not a number above 1e-5.

    Source: arXiv 1904.05835; the network, the floor and the initial variance from the authors' code, in RepDistiller.
    """

    variance: float = 5.0

    def __post_init__(self) -> None:
        if not _FLOOR < self.variance < math.inf:
            raise ValueError(f"the initial variance must be a finite number above {_FLOOR}, not {self.variance}")

    def build(self, student: Tensor, teacher: Tensor) -> nn.Module:
        """Make the distance for features of these shapes."""
        return _PredictedGaussian(student, teacher, self.variance)

    def __str__(self) -> str:
        return f"variational_information[variance {number(self.variance)}]"


class _PredictedGaussian(nn.Module):
    def __init__(self, student: Tensor, teacher: Tensor, variance: float) -> None:
        super().__init__()
        width = teacher.shape[1]
        self.mean = nn.Sequential(
            pointwise(student.shape[1], width, student, bias=False),
            nn.ReLU(),
            pointwise(width, width, student, bias=False),
            nn.ReLU(),
            pointwise(width, width, student, bias=False),
        )
        softplus = variance - _FLOOR
        before_softplus = softplus + math.log(-math.expm1(-softplus))  # ln(e^v - 1), without overflow for a large v
        self.spread = nn.Parameter(torch.full((width,), before_softplus, dtype=teacher.dtype))

    @property
    def variance(self) -> Tensor:
        """The variance of each channel, ``[C]``."""
        return nn.functional.softplus(self.spread) + _FLOOR

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return functional.variational_information(self.mean(student), teacher, self.variance)


def variational(
    *, weight: float = 1.0, variance: float = 5.0, layers: Layers = ("stage1", "stage2", "stage3")
) -> Objective:
    """VID: labels, and a lower bound on the information that each stage shares with the teacher's.

    Formula: ``H(e_y, p) + w sum_l 1/2 mean((mu_l(F^S_l) - F^T_l)^2 / sigma_lc^2 + ln sigma_lc^2)``; ``mu`` and the
    variance of each channel are learned (:class:`PredictedGaussian`, initially ``variance``), beside the student and
    no part of it. The larger of two maps is average-pooled to the smaller. The value may be below 0.

    >>> print(variational())
    H(labels, student) + variational_information[variance 5](stage1, stage2, stage3)

    Source: arXiv 1904.05835 (there the sum over channels and places); weight and layers from the RepDistiller code.
    """
    information = FeatureMatch(
        name="information",
        layers=layer_pairs(layers),
        distance=PredictedGaussian(variance=variance),
        weight=Constant(weight),
    )
    return beside_labels(1.0, information)
