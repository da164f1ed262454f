"""Passalis, Tefas: Learning Deep Representations with Probabilistic Knowledge Transfer (arXiv 1803.10837)."""

from __future__ import annotations

from tutelage import functional
from tutelage.objective import Constant, FeatureMatch, Layers, Objective, beside_labels, layer_pairs


def probabilistic_transfer(*, weight: float = 30000.0, layers: Layers = ("flatten",)) -> Objective:
    """PKT: labels, and each example's neighbors as a distribution over the batch.

    Formula: ``H(e_y, p) + w mean_ij t_ij ln(t_ij / s_ij)``, ``s`` and ``t`` the shifted cosines ``(cos + 1) / 2`` of
    all pairs of examples, each row divided by its sum. Shapes may differ.

    >>> print(probabilistic_transfer())
    H(labels, student) + 30000 probabilistic_transfer(flatten)

    Source: arXiv 1803.10837 (there the sum, each example without itself); the mean over all pairs, which the large
    weight compensates, and the layer from the RepDistiller code.
    """
    neighbors = FeatureMatch(
        name="neighbours",
        layers=layer_pairs(layers),
        distance=functional.probabilistic_transfer,
        weight=Constant(weight),
        pooled=False,
    )
    return beside_labels(1.0, neighbors)
