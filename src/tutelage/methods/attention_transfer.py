"""Zagoruyko, Komodakis: Paying More Attention to Attention (arXiv 1612.03928, ICLR 2017)."""

from __future__ import annotations

from tutelage import functional
from tutelage.objective import Constant, FeatureMatch, Layers, Objective, beside_labels, layer_pairs


def attention_transfer(*, weight: float = 1000.0, layers: Layers = ("stage1", "stage2", "stage3")) -> Objective:
    """AT: labels, and the teacher's attention maps.

    Formula: ``H(e_y, p) + w sum_l mean((Q^S_l - Q^T_l)^2)``, ``Q`` the mean squared activation at each position, at
    unit norm. Numbers of channels may differ; the larger of two maps is average-pooled to the smaller.

    >>> print(attention_transfer())
    H(labels, student) + 1000 attention_transfer(stage1, stage2, stage3)

    Source: arXiv 1612.03928, activation-based; the mean of squares and the weight as in the authors' code (the paper
    has half the weight, and the norm of the difference).
    """
    attention = FeatureMatch(
        name="attention", layers=layer_pairs(layers), distance=functional.attention_transfer, weight=Constant(weight)
    )
    return beside_labels(1.0, attention)
