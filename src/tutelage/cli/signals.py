"""What SIGTERM and Ctrl-C do: exit at once, or, while models are trained, once their state is saved."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

Result = TypeVar("Result")
STOP_SIGNALS = signal.SIGTERM, signal.SIGINT


def exit_on_signal(code: int, message: str = "") -> None:
    """From here on, end the process at once with this exit code when a stop signal arrives.

    This is right whenever there is nothing to save: files are written whole or not at all. The process does not end
    by an exception, because one that is raised during an import or in a destructor may be lost.
    """

    def leave(*_: object) -> None:
        for child in _function("multiprocessing.process", "active_children", _no_children)():
            child.terminate()  # the process of a seed, which has nothing to save yet either
        _function("tutelage.storage", "remove_temporary_files", _nothing)()
        with suppress(OSError):
            os.write(2, message.encode())
        os._exit(code)

    for number in STOP_SIGNALS:
        signal.signal(number, leave)


def _function(module: str, name: str, default: Callable[[], Result]) -> Callable[[], Result]:
    """A function of a module, or the default where the module is not imported yet, or only in part."""
    function: Callable[[], Result] = getattr(sys.modules.get(module), name, default)
    return function


def _no_children() -> list[BaseProcess]:
    return []


def _nothing() -> None:
    pass


class StopFlag:
    """Whether a stop signal has arrived since :meth:`listen`; can be called as ``should_stop``.

    A second signal ends the process at once, as it does by default.
    """

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> bool:
        """Whether a signal has arrived."""
        return self.count > 0

    def listen(self) -> None:
        """Take the signals from here on."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._stop)

    def _stop(self, number: int, _: object) -> None:
        self.count += 1
        if self.count > 1:
            if sys.stderr.isatty():
                sys.stderr.write("\x1b[?25h")  # show the cursor, which the live view hides
                sys.stderr.flush()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


@contextmanager
def signals_restored() -> Iterator[StopFlag]:
    """Yield a stop flag; restore the previous signal handlers on exit."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield StopFlag()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
