"""Preparing Lessons: knowledge adjustment and dynamic temperature (arXiv 1911.07471)."""

from __future__ import annotations

from tutelage.lineage import Lineage
from tutelage.methods import preparing_lessons as lessons
from tutelage.methods.preparing_lessons import Adjustment, Normalize, TemperatureRule
from tutelage.recipes.common_options import CommonOptions


def knowledge_adjustment(
    options: CommonOptions = CommonOptions(),
    *,
    teacher: str | None = None,
    adjustment: Adjustment = "shift",
    teacher_weight: float = 0.9,
    temperature: float = 4.0,
    smoothing: float = 0.1,
) -> Lineage:
    """Distill from targets that are never wrong: mistaken ones are adjusted.

    Args:
        teacher: The teacher's network; by default resnet20 for the digits and resnet56 otherwise.
        adjustment: What to do with a target whose highest score is not the label's: swap these two scores (shift),
            or replace it by the smoothed label (smooth).
        teacher_weight: The weight of the teacher's term; the labels have the rest.
        temperature: The temperature of the teacher's term.
        smoothing: The smoothing of a label that replaces a target.

    >>> print(knowledge_adjustment(adjustment="smooth").generations[1].objective)
    0.1 H(labels, student) + 0.9 4^2 KL(smoothed(teacher@4, 0.1) ‖ student@4)
    """
    objective = lessons.knowledge_adjustment(
        adjustment=adjustment, teacher_weight=teacher_weight, temperature=temperature, smoothing=smoothing
    )
    return options.teacher_student("knowledge_adjustment", teacher, objective)


def dynamic_temperature(
    options: CommonOptions = CommonOptions(),
    *,
    teacher: str | None = None,
    temperature_rule: TemperatureRule = "flsw",
    adjustment: Adjustment = "none",
    teacher_weight: float = 0.9,
    temperature: float = 4.0,
    bias: float = 2.0,
    power: float = 1.0,
    normalize: Normalize = "none",
    floor: float = 1.0,
    smoothing: float = 0.1,
) -> Lineage:
    """Distill at a temperature for each sample, lower for confusing ones.

    Args:
        teacher: The teacher's network; by default resnet20 for the digits and resnet56 otherwise.
        temperature_rule: What makes a sample confusing: that student and teacher disagree (flsw), or that the student
            is unsure (cwsm).
        adjustment: What to do with a target whose highest score is not the label's: nothing (none), swap these two
            scores (shift), or replace it by the smoothed label (smooth).
        teacher_weight: The weight of the teacher's term; the labels have the rest.
        temperature: The mean temperature of a batch.
        bias: How strongly a sample's temperature depends on its weight.
        power: The power of the weight in flsw.
        normalize: Divide the weights by their sum or mean over the batch.
        floor: The lowest temperature.
        smoothing: The smoothing of a label that replaces a target.

    >>> print(dynamic_temperature(adjustment="shift").generations[1].objective)  # doctest: +ELLIPSIS
    0.1 H(labels, student) + 0.9 τ^2 KL(shifted(teacher@τ) ‖ student@τ) with τ = max(1, 4 + 2(mean w - w), ...
    """
    objective = lessons.dynamic_temperature(
        temperature_rule=temperature_rule,
        adjustment=adjustment,
        teacher_weight=teacher_weight,
        temperature=temperature,
        bias=bias,
        power=power,
        normalize=normalize,
        floor=floor,
        smoothing=smoothing,
    )
    return options.teacher_student("dynamic_temperature", teacher, objective)
