"""Yim, Joo, Bae, Kim: A Gift from Knowledge Distillation (CVPR 2017)."""

from __future__ import annotations

from itertools import pairwise

from tutelage.objective import Constant, FlowMatch, Layers, Objective, beside_labels, layer_pairs


def flow(*, weight: float = 50.0, layers: Layers = ("stem", "stage1", "stage2", "stage3")) -> Objective:
    """FSP: labels, and how each layer follows from the one before.

    Formula: ``H(e_y, p) + w sum_l mean((G^S_l - G^T_l)^2)``, ``G_l`` the mean products of the channels of layer l
    with those of the next. Needs as many channels in the student as in the teacher.

    Errors: ``ValueError`` for fewer than two layers.

    >>> print(flow())
    H(labels, student) + 50 flow(stem-stage1, stage1-stage2, stage2-stage3)

    Source: CVPR 2017, "A gift from knowledge distillation" (there the weighted sum, as a first stage of training
    without labels); the mean and the weight as in the RepDistiller code, which has 30 such epochs first.
    """
    named = layer_pairs(layers)
    if len(named) < 2:
        raise ValueError(f"a flow goes from one layer to the next: layers are at least two, not {layers!r}")
    steps = tuple(((one, two), (first, second)) for (one, first), (two, second) in pairwise(named))
    return beside_labels(1.0, FlowMatch(name="flow", layers=steps, weight=Constant(weight)))
