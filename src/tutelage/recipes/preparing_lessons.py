"""Preparing Lessons: knowledge adjustment and dynamic temperature (arXiv 1911.07471)."""

from __future__ import annotations

from tutelage.lineage import Lineage
from tutelage.methods import preparing_lessons as lessons
from tutelage.methods.preparing_lessons import Adjustment, Normalize, Weights
from tutelage.recipes.common_options import CommonOptions


def knowledge_adjustment(
    setting: CommonOptions = CommonOptions(),
    *,
    teacher: str | None = None,
    adjustment: Adjustment = "shift",
    teacher_weight: float = 0.9,
    temperature: float = 4.0,
    smoothing: float = 0.1,
) -> Lineage:
    """Distillation from targets that are never wrong.

    Args:
        teacher: The teacher's network; by default resnet20 for the digits and resnet56 otherwise.
        adjustment: What happens to a target whose best class is not the label: its two scores are swapped (shift),
            or the smoothed label replaces it (smooth).
        teacher_weight: The weight of the teacher's term; the labels get the rest.
        temperature: What both networks' logits are divided by in the teacher's term.
        smoothing: How much a replacing label is smoothed.

    >>> print(knowledge_adjustment(adjustment="smooth").generations[1].objective)
    0.1 H(labels, student) + 0.9 4^2 KL(smoothed(teacher@4, 0.1) ‖ student@4)
    """
    objective = lessons.knowledge_adjustment(
        adjustment=adjustment, teacher_weight=teacher_weight, temperature=temperature, smoothing=smoothing
    )
    return setting.taught("knowledge_adjustment", teacher, objective)


def dynamic_temperature(
    setting: CommonOptions = CommonOptions(),
    *,
    teacher: str | None = None,
    weights: Weights = "flsw",
    adjustment: Adjustment = "none",
    teacher_weight: float = 0.9,
    temperature: float = 4.0,
    bias: float = 2.0,
    power: float = 1.0,
    normalize: Normalize = "none",
    floor: float = 1.0,
    smoothing: float = 0.1,
) -> Lineage:
    """Distillation at a temperature of each sample's own, lower for confusing ones.

    Args:
        teacher: The teacher's network; by default resnet20 for the digits and resnet56 otherwise.
        weights: What makes a sample confusing: student and teacher disagree (flsw), or the student is unsure (cwsm).
        adjustment: Adjusts wrong targets too: none, shift or smooth.
        teacher_weight: The weight of the teacher's term; the labels get the rest.
        temperature: The mean temperature of a batch.
        bias: How far the temperature moves with a sample's weight.
        power: The power of flsw's weight.
        normalize: Divides the weights by their sum or mean over the batch.
        floor: The lowest temperature.
        smoothing: How much a replacing label is smoothed.

    >>> print(dynamic_temperature(adjustment="shift").generations[1].objective)  # doctest: +ELLIPSIS
    0.1 H(labels, student) + 0.9 τ^2 KL(shifted(teacher@τ) ‖ student@τ) with τ = max(1, 4 + 2(mean w - w), ...
    """
    objective = lessons.dynamic_temperature(
        weights=weights,
        adjustment=adjustment,
        teacher_weight=teacher_weight,
        temperature=temperature,
        bias=bias,
        power=power,
        normalize=normalize,
        floor=floor,
        smoothing=smoothing,
    )
    return setting.taught("dynamic_temperature", teacher, objective)
