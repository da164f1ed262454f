"""Signals that reach every process of a terminal, where only the first of them may answer."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

CAN_BLOCK_SIGNALS = hasattr(signal, "pthread_sigmask")
"""False on Windows, where ``terminate`` ends a process at once: a seed then continues from its last checkpoint."""


@contextlib.contextmanager
def signals_blocked(*signals: signal.Signals) -> Iterator[None]:
    """Block signals, also in a process that is started meanwhile.

    On Windows, which blocks no signals, nothing is done.
    """
    if not CAN_BLOCK_SIGNALS:
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_parent() -> None:
    """Ignore Ctrl-C and SIGTERM in a process whose parent ends it once its own work is saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
