"""Park, Kim, Lu, Cho: Relational Knowledge Distillation (arXiv 1904.05068, CVPR 2019)."""

from __future__ import annotations

from tutelage import functional
from tutelage.objective import Constant, FeatureMatch, Layers, Objective, beside_labels, layer_pairs


def relational(
    *,
    weight: float = 1.0,
    distance_weight: float = 25.0,
    angle_weight: float = 50.0,
    layers: Layers = ("flatten",),
) -> Objective:
    """RKD: labels, and the distances and angles among the examples of a batch.

    Formula: ``H(e_y, p) + w (d L_distance + a L_angle)``, each the mean smooth-L1 difference of student and teacher:
    in all distances, divided by their mean, and in the cosines of all angles among three examples. Memory grows
    with the cube of the batch. Shapes may differ; a weight of 0 leaves its part out.

    >>> print(relational())
    H(labels, student) + 25 relational_distance(flatten) + 50 relational_angle(flatten)

    Source: arXiv 1904.05068; weights and layer from the RepDistiller code.
    """
    parts = (
        ("distance", functional.relational_distance, distance_weight),
        ("angle", functional.relational_angle, angle_weight),
    )
    terms = [
        FeatureMatch(
            name=name, layers=layer_pairs(layers), distance=distance, weight=Constant(weight * share), pooled=False
        )
        for name, distance, share in parts
        if share
    ]
    return beside_labels(1.0, *terms)
