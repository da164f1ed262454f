"""Heo et al.: Knowledge Transfer via Distillation of Activation Boundaries (arXiv 1811.03233, AAAI 2019)."""

from __future__ import annotations

from tutelage import functional
from tutelage.objective import Connected, Constant, FeatureMatch, Layers, Objective, beside_labels, layer_pairs


def pre_activations(student: int, teacher: int) -> tuple[tuple[str, str], ...]:
    """Name the features before the last ReLU of each stage of two CIFAR ResNets, by their depths.

    Errors: ``ValueError`` for a depth that is not 6n + 2.

    >>> pre_activations(20, 56)
    (('stage1.2.sum', 'stage1.8.sum'), ('stage2.2.sum', 'stage2.8.sum'), ('stage3.2.sum', 'stage3.8.sum'))
    """
    for depth in (student, teacher):
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"a CIFAR ResNet has 6n + 2 layers, not {depth}")
    student_block, teacher_block = (student - 2) // 6 - 1, (teacher - 2) // 6 - 1  # the last block of each stage
    return tuple((f"stage{stage}.{student_block}.sum", f"stage{stage}.{teacher_block}.sum") for stage in (1, 2, 3))


RESNET20_FROM_56 = pre_activations(20, 56)


def activation_boundary(*, weight: float = 1.0, layers: Layers = RESNET20_FROM_56) -> Objective:
    """AB: labels, and neurons on the same side of zero as the teacher's, before the activation.

    Formula: ``H(e_y, p) + w 3/1000 sum_l 2^(l - L) (sum over neurons of relu(1 - s)^2 where t > 0, relu(1 + s)^2
    elsewhere)``, L layers. Where shapes differ, a learned convolution and batch normalization convert the
    student's to the teacher's (``tutelage.objective.Connected``). The layers are those of resnet20 and resnet56;
    :func:`pre_activations` names those of other depths.

    >>> print(activation_boundary(layers=pre_activations(8, 8)).terms[1].formula())
    0.003 connected activation_boundary(0.25 stage1.0.sum, 0.5 stage2.0.sum, stage3.0.sum)

    Source: arXiv 1811.03233 (there a first stage of training without labels); weights, margin and connector from the
    RepDistiller code, where 30 such epochs come first.
    """
    pairs = layer_pairs(layers)
    boundary = FeatureMatch(
        name="boundary",
        layers=pairs,
        distance=Connected(distance=functional.activation_boundary),
        weight=Constant(weight * 3 / 1000),
        layer_weights=tuple(2.0 ** (place + 1 - len(pairs)) for place in range(len(pairs))),
        pooled=False,
    )
    return beside_labels(1.0, boundary)
