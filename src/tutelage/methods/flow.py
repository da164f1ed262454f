"""Yim, Joo, Bae, Kim: A Gift from Knowledge Distillation (CVPR 2017)."""

from __future__ import annotations

from itertools import pairwise

from tutelage.objective import Constant, FlowMatch, Layers, Objective, beside_labels, layer_pairs


def flow(*, weight: float = 50.0, layers: Layers = ("stem", "stage1", "stage2", "stage3")) -> Objective:
    """FSP: labels, and the flow from each layer to the next.

    Formula: ``H(e_y, p) + w sum_l mean((G^S_l - G^T_l)^2)``, ``G_l`` the mean products of the channels of layer l
    with those of the next. Student and teacher need the same numbers of channels.

    Errors: ``ValueError`` for fewer than two layers.

    >>> print(flow())
    H(labels, student) + 50 flow(stem-stage1, stage1-stage2, stage2-stage3)

    Source: CVPR 2017, "A gift from knowledge distillation" (there the weighted sum, as a first stage of training
    without labels); the mean and the weight from the RepDistiller code, where 30 such epochs come first.
    """
    pairs = layer_pairs(layers)
    if len(pairs) < 2:
        raise ValueError(f"a flow goes from one layer to the next: layers are at least two, not {layers!r}")
    steps = tuple(
        ((student, next_student), (teacher, next_teacher))
        for (student, teacher), (next_student, next_teacher) in pairwise(pairs)
    )
    return beside_labels(1.0, FlowMatch(name="flow", layers=steps, weight=Constant(weight)))
