"""The everyday recipes: one model, trained without a teacher."""

from __future__ import annotations

from tutelage import functional
from tutelage.lineage import Lineage
from tutelage.methods import confidence_penalty as penalty
from tutelage.methods import hinton
from tutelage.methods import label_smoothing as smooth
from tutelage.recipes.common_options import CommonOptions


def baseline(setting: CommonOptions = CommonOptions()) -> Lineage:
    """Train one network on the labels alone.

    >>> [generation.name for generation in baseline().generations]
    ['baseline']
    """
    return setting.lineage("baseline", setting.generation("baseline", hinton.labels_only()))


def label_smoothing(
    setting: CommonOptions = CommonOptions(), *, smoothing: float = 0.1, primary: float | None = None
) -> Lineage:
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
    setting: CommonOptions = CommonOptions(), *, penalty_weight: float = 0.1, primary: float | None = None
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
