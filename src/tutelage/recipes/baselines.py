"""Recipes of one model that is trained without a teacher."""

from __future__ import annotations

from tutelage import functional
from tutelage.lineage import Lineage
from tutelage.methods import confidence_penalty as penalty
from tutelage.methods import hinton
from tutelage.methods import label_smoothing as smooth
from tutelage.recipes.common_options import CommonOptions


def baseline(options: CommonOptions = CommonOptions()) -> Lineage:
    """Train one network on the labels alone.

    >>> [generation.name for generation in baseline().generations]
    ['baseline']
    """
    return options.lineage("baseline", options.generation("baseline", hinton.labels_only()))


def label_smoothing(
    options: CommonOptions = CommonOptions(), *, smoothing: float = 0.1, primary: float | None = None
) -> Lineage:
    """Train one network on smoothed labels.

    Args:
        smoothing: The share of the label's probability that is spread over all classes.
        primary: The expected probability of the label, instead of `smoothing`.

    >>> print(label_smoothing(primary=0.6).generations[0].objective)
    H(labels smoothed by 0.444444, student)
    """
    if primary is not None:
        smoothing = functional.smoothing_for_primary(primary, options.dataset_info().num_classes)
    objective = smooth.label_smoothing(smoothing=smoothing)
    return options.lineage("label_smoothing", options.generation("label smoothing", objective))


def confidence_penalty(
    options: CommonOptions = CommonOptions(), *, penalty_weight: float = 0.1, primary: float | None = None
) -> Lineage:
    """Train one network with a penalty on confident predictions, the negative entropy.

    Args:
        penalty_weight: The weight of the negative entropy.
        primary: The expected probability of the label, instead of `penalty_weight`.

    >>> print(confidence_penalty(primary=0.6).generations[0].objective)
    H(labels, student) - 0.640363 H(student)
    """
    if primary is not None:
        penalty_weight = functional.penalty_for_primary(primary, options.dataset_info().num_classes)
    objective = penalty.confidence_penalty(penalty_weight=penalty_weight)
    return options.lineage("confidence_penalty", options.generation("confidence penalty", objective))
