"""Szegedy et al.: Rethinking the Inception Architecture (CVPR 2016), section 7, label smoothing."""

from __future__ import annotations

from tutelage import functional
from tutelage.objective import Labels, Match, Objective


def label_smoothing(*, smoothing: float = 0.1, others_only: bool = False) -> Objective:
    """Cross-entropy with smoothed labels; ``others_only`` selects the form of the Tf-KD code.

    Formula: ``H(q', p)``, ``q' = (1 - e) 1[k = y] + e / K`` (torch's form), or ``1 - e`` on the label and
    ``e / (K - 1)`` off it.

    ``functional.smoothing_for_primary(p, K)`` gives the smoothing that leads to the label score ``p``.

    >>> print(label_smoothing())
    H(labels smoothed by 0.1, student)

    Source: Szegedy et al. 2016, section 7; arXiv 1909.11723, Eqs. 1 to 3.
    """
    target = Labels(smoothing=smoothing, others_only=others_only)
    return Objective((Match(name="labels", target=target, distance=functional.cross_entropy),))
