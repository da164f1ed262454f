"""Teacher-student training on PyTorch: lineages of models that end in a better classifier at the same cost.

``tutelage.api`` holds the functions behind the command; ``run``, ``explain``, ``diagnose``, ``transfer`` and
``predict`` are here too. ``tutelage.functional`` holds the losses and imports torch alone. Nothing is imported before
it is used. ``__version__`` is the version of the installed package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tutelage.api import diagnose as diagnose
    from tutelage.api import explain as explain
    from tutelage.api import predict as predict
    from tutelage.api import run as run
    from tutelage.api import transfer as transfer

    __version__: str

__all__ = ["diagnose", "explain", "predict", "run", "transfer"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from tutelage import api

        return getattr(api, name)
    if name == "__version__":
        from tutelage.version import installed_version

        return installed_version()
    raise AttributeError(f"module 'tutelage' has no attribute {name!r}")
