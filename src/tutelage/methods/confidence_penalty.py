"""Pereyra et al.: Regularizing Neural Networks by Penalizing Confident Output Distributions (arXiv 1701.06548)."""

from __future__ import annotations

from tutelage.methods.hinton import labels_only
from tutelage.objective import ConfidencePenalty, Objective


def confidence_penalty(*, penalty_weight: float = 0.1, threshold: float | None = None) -> Objective:
    """Cross-entropy minus the entropy of the output; with a ``threshold`` in nats, only entropies below it count.

    Formula: ``H(e_y, p) - b H(p)``, or ``H(e_y, p) + b max(0, G - H(p))``.

    ``functional.penalty_for_primary(p, K)`` gives the weight that leads to the label score ``p``.

    >>> print(confidence_penalty())
    H(labels, student) - 0.1 H(student)

    Source: arXiv 1701.06548; the weight 0.1 and the form of the hinge are our reading.
    """
    penalty = ConfidencePenalty(weight=penalty_weight, threshold=threshold)
    return Objective((*labels_only().terms, penalty))
