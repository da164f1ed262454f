"""Import the user's own functions, but never because untrusted data names them."""

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
    """Make :func:`load_function` fail within the ``with`` block, where data is read that must not run code.

    >>> with data_only():
    ...     load_function("math:sqrt")
    Traceback (most recent call last):
    ...
    ValueError: 'math:sqrt' is code outside tutelage, and importing it runs it: add --trust if you trust its source
    """
    token = _data_only.set(True)
    try:
        yield
    finally:
        _data_only.reset(token)


def load_function(target: str) -> Callable[..., Any]:
    """Import a function that the user names as ``package.module:function`` or ``path/to/file.py:function``.

    Errors: ``ValueError`` that says which half of the name does not exist; within :func:`data_only`, for any name.

    >>> load_function("math:sqrt")(9.0)
    3.0
    """
    source, _, name = target.rpartition(":")
    if _data_only.get():
        raise ValueError(
            f"{target!r} is code outside tutelage, and importing it runs it: add --trust if you trust its source"
        )
    if not source:
        raise ValueError(f"{target!r} names no function: write package.module:function or path/to/file.py:function")
    if source.endswith(".py"):
        if not Path(source).is_file():
            raise ValueError(f"no file {source!r} (from {target!r})")
        spec = importlib.util.spec_from_file_location(Path(source).stem, source)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        try:
            module = importlib.import_module(source)
        except (ModuleNotFoundError, TypeError) as error:  # a TypeError for a relative name
            raise ValueError(f"no module {source!r} (from {target!r}): {error}") from None
    function = getattr(module, name, None)
    if not callable(function):
        callables = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        raise unknown(f"function in {source}", name, callables)
    return function  # type: ignore[no-any-return]  # the type of a user's function is unknown
