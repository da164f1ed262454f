"""Runs as functions: each public function here that returns a ``Lineage`` is a recipe.

A recipe's arguments are the command's options; ``Setting`` holds those that all of them share.
"""

from __future__ import annotations

from collections.abc import Callable

from tutelage.config import functions_returning, load_function, unknown
from tutelage.lineage import Lineage
from tutelage.recipes.setting import Setting

__all__ = ["Setting", "find", "recipes"]


def recipes() -> dict[str, Callable[..., Lineage]]:
    """Every recipe by name, found by walking this package; there is no registry.

    >>> "tolerant" in recipes()
    True
    """
    return functions_returning(__name__, Lineage)


def find(name: str) -> Callable[..., Lineage]:
    """Find a recipe: one of ours by name, or a user's as ``module:function`` or ``file.py:function``.

    Errors: ``ValueError`` with the nearest names.

    >>> find("tolerent")
    Traceback (most recent call last):
    ...
    ValueError: unknown recipe 'tolerent': did you mean tolerant?; path/to/mine.py:function works too
    """
    if ":" in name:
        return load_function(name)
    known = recipes()
    if name not in known:
        raise unknown("recipe", name, known, hint="path/to/mine.py:function works too")
    return known[name]
