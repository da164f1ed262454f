"""Tung, Mori: Similarity-Preserving Knowledge Distillation (arXiv 1907.09682, ICCV 2019)."""

from __future__ import annotations

from tutelage import functional
from tutelage.objective import Constant, FeatureMatch, Layers, Objective, beside_labels, layer_pairs


def similarity_preserving(*, weight: float = 3000.0, layers: Layers = ("stage3",)) -> Objective:
    """SP: labels, and the similarities among the examples of a batch.

    Formula: ``H(e_y, p) + w sum_l ||G^S_l - G^T_l||_F^2 / B^2``, ``G`` the inner products of all pairs of examples,
    its rows at unit norm. Shapes may differ.

    >>> print(similarity_preserving())
    H(labels, student) + 3000 similarity_preserving(stage3)

    Source: arXiv 1907.09682; weight and layer from the RepDistiller code.
    """
    similarity = FeatureMatch(
        name="similarity",
        layers=layer_pairs(layers),
        distance=functional.similarity_preserving,
        weight=Constant(weight),
        pooled=False,
    )
    return beside_labels(1.0, similarity)
