"""How far a long preparation is: told by whoever does it, to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Progress = Callable[[int, int], None]
"""Is called with how many are done, and how many there are."""

_shown: ContextVar[Progress | None] = ContextVar("shown", default=None)


def report(done: int, total: int) -> None:
    """Say that so many of all are done, to the function of the innermost :func:`reported_to`, if there is one."""
    show = _shown.get()
    if show is not None:
        show(done, total)


@contextmanager
def reported_to(show: Progress) -> Iterator[None]:
    """Send what is reported in the ``with`` block to a function.

    >>> with reported_to(lambda done, total: print(f"{done} of {total}")):
    ...     report(1, 2)
    1 of 2
    """
    token = _shown.set(show)
    try:
        yield
    finally:
        _shown.reset(token)
