"""Romero et al.: FitNets: Hints for Thin Deep Nets (arXiv 1412.6550, ICLR 2015)."""

from __future__ import annotations

from tutelage import functional
from tutelage.objective import Connected, Constant, FeatureMatch, Layers, Objective, beside_labels, layer_pairs


def fitnets(*, weight: float = 100.0, layers: Layers = ("stage2",)) -> Objective:
    """FitNets: labels, and a hint: a layer of the student predicts one of the teacher through a learned regressor.

    Formula: ``H(e_y, p) + w mean((r(F^S) - F^T)^2)``; ``r`` is a convolution, batch normalization and ReLU that turn
    the student's map into one of the teacher's shape (``tutelage.objective.Connected``). It is trained beside the
    student and is no part of it.

    >>> print(fitnets())
    H(labels, student) + 100 connected fitnet_hint(stage2)

    Source: arXiv 1412.6550, the hint loss (there half the sum, as a stage of training before distillation); one
    stage, the mean, weight, regressor and layer from the RepDistiller code.
    """
    distance = Connected(distance=functional.fitnet_hint, relu=True, always=True)
    hint = FeatureMatch(
        name="hint", layers=layer_pairs(layers), distance=distance, weight=Constant(weight), pooled=False
    )
    return beside_labels(1.0, hint)
