"""Huang, Wang: Like What You Like: Knowledge Distill via Neuron Selectivity Transfer (arXiv 1707.01219)."""

from __future__ import annotations

from tutelage import functional
from tutelage.objective import Constant, FeatureMatch, Layers, Objective, beside_labels, layer_pairs


def neuron_selectivity(*, weight: float = 50.0, layers: Layers = ("stage1", "stage2", "stage3")) -> Objective:
    """NST: labels, and the distribution of the teacher's channels.

    Formula: ``H(e_y, p) + w sum_l MMD^2(S_l, T_l)``, between the channels of both as vectors at unit norm, with the
    kernel ``(a . b)^2``. Numbers of channels may differ; the larger of two maps is average-pooled to the smaller.

    >>> print(neuron_selectivity())
    H(labels, student) + 50 neuron_selectivity_transfer(stage1, stage2, stage3)

    Source: arXiv 1707.01219 (there half the weight; linear and Gaussian kernels too); weight from the RepDistiller
    code.
    """
    selectivity = FeatureMatch(
        name="selectivity",
        layers=layer_pairs(layers),
        distance=functional.neuron_selectivity_transfer,
        weight=Constant(weight),
    )
    return beside_labels(1.0, selectivity)
