"""Teacher-student training on PyTorch: lineages of models that end in a better classifier at the same cost.

``tutelage.run``, ``compare``, ``diagnose`` and ``explain`` are the command's api. ``tutelage.functional`` holds the
losses and imports torch alone; nothing is imported before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tutelage.api import compare as compare
    from tutelage.api import diagnose as diagnose
    from tutelage.api import explain as explain
    from tutelage.api import run as run

__all__ = ["compare", "diagnose", "explain", "run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from tutelage import api

        return getattr(api, name)
    raise AttributeError(f"module 'tutelage' has no attribute {name!r}")
