"""SIGTERM and Ctrl-C: at once where nothing would be lost, else once the moment is saved; a second one at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ASKING = signal.SIGTERM, signal.SIGINT


def leave_when_asked(code: int, says: str = "") -> None:
    """From here on either signal ends the process at once with this exit code.

    For all times but those when there is something to save: whatever else is written is written whole or not at all.
    Not by an exception, which may come in the middle of an import or of a destructor and be lost there.
    """

    def leave(*_: object) -> None:
        processes, storage = (sys.modules.get(name) for name in ("multiprocessing.process", "tutelage.storage"))
        for process in getattr(processes, "active_children", list)():  # of seeds, which have not begun either
            process.terminate()
        getattr(storage, "abandon", list)()
        with suppress(OSError):
            os.write(2, says.encode())
        os._exit(code)

    for number in ASKING:
        signal.signal(number, leave)


class Flag:
    """Whether a signal came since :meth:`listen`; it may be called as ``should_stop``."""

    def __init__(self) -> None:
        self.count, self.listening = 0, False

    def __call__(self) -> bool:
        """Whether a signal came."""
        return self.count > 0

    def listen(self) -> None:
        """Take the signals from here on."""
        self.listening = True
        for number in ASKING:
            signal.signal(number, self._ask)

    def _ask(self, number: int, _: object) -> None:
        self.count += 1
        if self.count > 1:
            if sys.stderr.isatty():
                sys.stderr.write("\x1b[?25h")  # the cursor, which the live view hides
                sys.stderr.flush()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


@contextmanager
def signals_restored() -> Iterator[Flag]:
    """A flag to listen with; behind the body the signals do again what they did before."""
    before = {number: signal.getsignal(number) for number in ASKING}
    try:
        yield Flag()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
