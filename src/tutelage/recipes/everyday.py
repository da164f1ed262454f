"""The everyday recipes: one model, or one teacher and one student."""

from __future__ import annotations

from tutelage import functional
from tutelage.lineage import Lineage
from tutelage.methods import confidence_penalty as penalty
from tutelage.methods import hinton
from tutelage.methods import label_smoothing as smooth
from tutelage.recipes.setting import Setting


def baseline(setting: Setting = Setting()) -> Lineage:
    """Train one network on the labels alone.

    >>> [generation.name for generation in baseline().generations]
    ['baseline']
    """
    return setting.lineage("baseline", setting.generation("baseline", hinton.labels_only()))


def label_smoothing(setting: Setting = Setting(), *, smoothing: float = 0.1, primary: float | None = None) -> Lineage:
    """Train one network on smoothed labels.

    Args:
        smoothing: The share of the label's score that is spread over all classes.
        primary: The wanted expected score of the labelled class, instead of `smoothing`.

    >>> print(label_smoothing(primary=0.6).generations[0].objective)
    H(labels smoothed by 0.444444, student)
    """
    if primary is not None:
        smoothing = functional.smoothing_for_primary(primary, setting.facts().num_classes)
    objective = smooth.label_smoothing(smoothing=smoothing)
    return setting.lineage("label_smoothing", setting.generation("label smoothing", objective))


def confidence_penalty(
    setting: Setting = Setting(), *, penalty_weight: float = 0.1, primary: float | None = None
) -> Lineage:
    """Train one network with a reward for entropy.

    Args:
        penalty_weight: The weight of the negative entropy.
        primary: The wanted expected score of the labelled class, instead of `penalty_weight`.

    >>> print(confidence_penalty(primary=0.6).generations[0].objective)
    H(labels, student) - 0.640363 H(student)
    """
    if primary is not None:
        penalty_weight = functional.penalty_for_primary(primary, setting.facts().num_classes)
    objective = penalty.confidence_penalty(penalty_weight=penalty_weight)
    return setting.lineage("confidence_penalty", setting.generation("confidence penalty", objective))


def distill(
    setting: Setting = Setting(),
    *,
    teacher: str | None = None,
    teacher_weight: float = 0.9,
    temperature: float = 4.0,
) -> Lineage:
    """Train a teacher, then a student (`model`) on the labels and the teacher's softened prediction.

    Args:
        teacher: The teacher's network; by default resnet20 for the digits and resnet56 otherwise.
        teacher_weight: The weight of the teacher's term; the labels get the rest.
        temperature: What both networks' logits are divided by in the teacher's term.

    >>> [(generation.name, generation.model) for generation in distill(teacher="resnet14").generations]
    [('teacher', 'resnet14'), ('student', 'resnet8')]
    """
    objective = hinton.distillation(teacher_weight=teacher_weight, temperature=temperature)
    return setting.taught("distill", teacher, objective)
