"""Which trackers a study is told to."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from tutelage.errors import unknown

TRACKERS = {"tensorboard": "track", "mlflow": "mlflow", "wandb": "wandb"}
"""The trackers, each named after the package that it needs, and the extra that installs it."""


def chosen(names: Sequence[str] | None) -> tuple[str, ...]:
    """The trackers of a request: those named, ``none``, or, where nothing is said, TensorBoard if it is installed.

    Nothing is imported to find out.

    Errors: ``ValueError`` for a name that is no tracker, with the nearest one, and for one that is not installed,
    with the extra that installs it.

    >>> chosen(["none"])
    ()
    >>> chosen(["tensorbord"])
    Traceback (most recent call last):
    ...
    ValueError: unknown tracker 'tensorbord': did you mean tensorboard?
    """
    if names is None:
        return ("tensorboard",) if _installed("tensorboard") else ()
    for name in names:
        if name not in (*TRACKERS, "none"):
            raise unknown("tracker", name, [*TRACKERS, "none"])
    if "none" in names and len(set(names)) > 1:
        raise ValueError(f"tracker none stands alone, not beside {' and '.join(n for n in names if n != 'none')}")
    asked = tuple(dict.fromkeys(name for name in names if name != "none"))
    for name in asked:
        if not _installed(name):
            raise ValueError(f"tracker {name} is not installed: pip install 'tutelage[{TRACKERS[name]}]'")
    return asked


def _installed(package: str) -> bool:
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None  # a folder of that name in the working folder has none
