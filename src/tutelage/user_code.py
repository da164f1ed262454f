"""Import the user's own functions, and refuse to while data is read that may name them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from tutelage.errors import unknown

_data_only: ContextVar[bool] = ContextVar("_data_only", default=False)


@contextlib.contextmanager
def data_only() -> Iterator[None]:
    """While the body runs, :func:`load_function` refuses: what is read comes from a file, and a file is data.

    >>> with data_only():
    ...     load_function("math:sqrt")
    Traceback (most recent call last):
    ...
    ValueError: 'math:sqrt' is code outside tutelage, and importing it runs it: add --trust if you trust who names it
    """
    token = _data_only.set(True)
    try:
        yield
    finally:
        _data_only.reset(token)


def load_function(target: str) -> Callable[..., Any]:
    """Import the function a user named as ``package.module:function`` or ``path/to/file.py:function``.

    Errors: ``ValueError`` that says which half was not found; within :func:`data_only`, for any name.

    >>> load_function("math:sqrt")(9.0)
    3.0
    """
    place, _, name = target.rpartition(":")
    if _data_only.get():
        raise ValueError(
            f"{target!r} is code outside tutelage, and importing it runs it: add --trust if you trust who names it"
        )
    if not place:
        raise ValueError(f"{target!r} names no function: write package.module:function or path/to/file.py:function")
    if place.endswith(".py"):
        if not Path(place).is_file():
            raise ValueError(f"no file {place!r} (from {target!r})")
        spec = importlib.util.spec_from_file_location(Path(place).stem, place)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        try:
            module = importlib.import_module(place)
        except (ModuleNotFoundError, TypeError) as error:  # TypeError for a relative name
            raise ValueError(f"no module {place!r} (from {target!r}): {error}") from None
    function = getattr(module, name, None)
    if not callable(function):
        callables = [n for n, v in vars(module).items() if callable(v) and n[0] != "_"]
        raise unknown(f"function in {place}", name, callables)
    return function  # type: ignore[no-any-return]  # a user's function: nothing is known of it
