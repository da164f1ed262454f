"""One file a paper: each public function that returns an ``Objective`` is a method."""

from __future__ import annotations

from collections.abc import Callable

from tutelage.config import functions_returning
from tutelage.objective import Objective


def factories() -> dict[str, Callable[..., Objective]]:
    """Every method by name, found by walking this package; there is no registry.

    >>> str(factories()["label_smoothing"](smoothing=0.2))
    'H(labels smoothed by 0.2, student)'
    """
    return functions_returning(__name__, Objective)
