"""Select the trackers of a study."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from tutelage.errors import unknown

TRACKERS = {"tensorboard": "track", "mlflow": "mlflow", "wandb": "wandb"}
"""The trackers, each named like the package that it needs, and the extra of tutelage that installs the package."""


def select_trackers(names: Sequence[str] | None) -> tuple[str, ...]:
    """The trackers of a request: those named, or none for ``none``; by default TensorBoard where it is installed.

    Nothing is imported to find out what is installed.

    Errors: ``ValueError`` for a name that is no tracker, with the nearest one, and for a tracker that is not
    installed, with the extra that installs it.

    >>> select_trackers(["none"])
    ()
    >>> select_trackers(["tensorbord"])
    Traceback (most recent call last):
    ...
    ValueError: unknown tracker 'tensorbord': did you mean tensorboard?
    """
    if names is None:
        return ("tensorboard",) if _is_installed("tensorboard") else ()
    for name in names:
        if name not in (*TRACKERS, "none"):
            raise unknown("tracker", name, [*TRACKERS, "none"])
    trackers = tuple(dict.fromkeys(name for name in names if name != "none"))
    if trackers and "none" in names:
        raise ValueError(f"tracker none cannot be combined with {' and '.join(trackers)}")
    for name in trackers:
        if not _is_installed(name):
            raise ValueError(f"tracker {name} is not installed: pip install 'tutelage[{TRACKERS[name]}]'")
    return trackers


def _is_installed(package: str) -> bool:
    spec = importlib.util.find_spec(package)
    # A plain folder of that name in the working folder has a spec too, a namespace package without an origin.
    return spec is not None and spec.origin is not None
