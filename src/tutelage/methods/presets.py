"""Losses with the weights of public code, named after the project, for comparisons on equal terms.

Only the loss: schedules, augmentation and model selection belong to the recipe. The forms of the Tf-KD repository are
in ``teacher_free`` and end in ``_official``.
"""

from __future__ import annotations

from typing import Literal

from tutelage.methods.decoupled import decoupled
from tutelage.methods.hinton import distillation
from tutelage.objective import Objective


def repdistiller() -> Objective:
    """Distillation as in the RepDistiller repository, on CIFAR-100 (``-r 0.1 -a 0.9``, ``--kd_T 4``).

    Formula: ``0.1 H(e_y, p) + 0.9 T^2 KL(p^T_T || p_T)``, T = 4, summed over classes and averaged over the batch.

    >>> print(repdistiller())
    0.1 H(labels, student) + 0.9 4^2 KL(teacher@4 ‖ student@4)

    Source: HobbitLong/RepDistiller, its commands for KD.
    """
    return distillation(teacher_weight=0.9, hard_weight=0.1, temperature=4.0)


def mdistiller(*, benchmark: Literal["cifar100", "imagenet"] = "cifar100") -> Objective:
    """Distillation as in the mdistiller repository (``KD``: ``CE_WEIGHT``, ``KD_WEIGHT``, ``TEMPERATURE``).

    Formula: ``h H(e_y, p) + w T^2 KL(p^T_T || p_T)``, averaged over the batch; 0.1, 0.9 and T = 4 for CIFAR-100, 0.5,
    0.5 and T = 1 for ImageNet.

    >>> print(mdistiller())
    0.1 H(labels, student) + 0.9 4^2 KL(teacher@4 ‖ student@4)
    >>> print(mdistiller(benchmark="imagenet"))
    0.5 H(labels, student) + 0.5 KL(teacher ‖ student)

    Source: megvii-research/mdistiller, its configurations for KD.
    """
    values = {"cifar100": (0.1, 0.9, 4.0), "imagenet": (0.5, 0.5, 1.0)}
    if benchmark not in values:
        raise ValueError(f"benchmark is one of {', '.join(values)}, not {benchmark!r}")
    hard, soft, temperature = values[benchmark]
    return distillation(teacher_weight=soft, hard_weight=hard, temperature=temperature)


def mdistiller_dkd(*, other_weight: float = 8.0) -> Objective:
    """DKD as in the mdistiller repository, on CIFAR-100 (``DKD``: ``CE_WEIGHT``, ``ALPHA``, ``BETA``, ``T``).

    Formula: ``H(e_y, p) + r T^2 (TCKD + b NCKD)``, T = 4, r the warm-up over the first 20 of 240 epochs. Its ``BETA``
    is ``other_weight``: 8 for resnet32x4 to resnet8x4, ShuffleNetV1 and V2, wrn-40-2 to ShuffleNetV1 and ResNet50
    to MobileNetV2; 6 for wrn-40-2 to wrn-16-2 and wrn-40-1, vgg13 to vgg8 and MobileNetV2; 2 for resnet56 to resnet20
    and resnet110 to resnet32. Its warm-up rises once per epoch, this one at every step.

    >>> print(mdistiller_dkd(other_weight=2.0).terms[1].formula())
    (0 to 1 over progress 0 to 0.083333) 4^2 (TCKD + 2 NCKD)(teacher@4 ‖ student@4)

    Source: megvii-research/mdistiller, its configurations for DKD.
    """
    return decoupled(hard_weight=1.0, target_weight=1.0, other_weight=other_weight, temperature=4.0, warm_up=20 / 240)


def torchdistill(*, hard_weight: float = 0.9) -> Objective:
    """Distillation as in torchdistill's CIFAR-100 sample, whose ``alpha`` of 0.9 is the weight of the labels.

    Formula: ``h H(e_y, p) + (1 - h) T^2 KL(p^T_T || p_T)``, T = 4, summed over classes and averaged over the batch;
    for ``h = 0`` its ``KDLoss`` gives ``KL`` alone, without T^2.

    >>> print(torchdistill())
    0.9 H(labels, student) + 0.1 4^2 KL(teacher@4 ‖ student@4)
    >>> print(torchdistill(hard_weight=0.0))
    KL(teacher@4 ‖ student@4)

    Source: yoshitomo-matsubara/torchdistill, ``KDLoss`` and ``configs/sample/cifar100/kd``.
    """
    return distillation(
        teacher_weight=1.0 - hard_weight,
        hard_weight=hard_weight,
        temperature=4.0,
        temperature_power=2.0 if hard_weight else 0.0,
    )
