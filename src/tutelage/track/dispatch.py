"""Let trackers listen to a study: each in a thread of its own, so that none can stop or delay a training."""

from __future__ import annotations

import importlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tutelage.study import Event, Study
from tutelage.track.curves import write_curves

PATIENCE = 30.0
"""Seconds that trackers may still take when a study is done."""

HURRY = 3.0
"""The same, when it was stopped."""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def tracked(
    events: Iterator[Event],
    study: Study,
    trackers: Sequence[str],
    runs: Path,
    say: Callable[[str], None] = _say,
) -> Iterator[Event]:
    """The events as they come; the trackers (see :func:`chosen`) are told all of them.

    How to look at what each is told is said after the first event. A tracker that fails is left out from there
    on, and ``say`` hears why, once; the next time the same study is run it is told what it lacks.
    """
    listeners: list[_Listener] = []
    patience = HURRY
    try:
        for number, event in enumerate(events):
            if number == 0:
                listeners = [_Listener(name, study, runs) for name in trackers]
            for listener in listeners:
                listener.tell(event)
                listener.complain(say)
            yield event
            if number == 0:
                for listener in listeners:
                    say(listener.look)
        patience = PATIENCE
    finally:
        for listener in listeners:
            listener.end()
        deadline = time.monotonic() + patience
        for listener in listeners:
            listener.wait(max(0.0, deadline - time.monotonic()))
            listener.complain(say)


class _Listener:
    """One tracker in its thread. The thread is a daemon: a server that never answers does not keep the process."""

    def __init__(self, name: str, study: Study, runs: Path) -> None:
        self.name, self.study, self.runs = name, study, runs
        self.tracker = importlib.import_module(f"tutelage.track.{name}")
        self.look: str = self.tracker.look(study.name, runs)
        self.queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self.fault: str | None = None
        self.complained = False
        self.thread = threading.Thread(target=self._listen, name=f"tracker {name}", daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        try:
            write_curves(iter(self.queue.get, None), self.study, self.runs, self.tracker.open_curve)
        except (Exception, SystemExit) as error:
            reason = " ".join(f"{error}".split())[:300]
            self.fault = f"{self.name} is told no more: {type(error).__name__}{': ' + reason if reason else ''}"

    def tell(self, event: Event) -> None:
        if self.fault is None and (event.lines or event.phase != "training"):
            self.queue.put(event)

    def end(self) -> None:
        self.queue.put(None)

    def wait(self, seconds: float) -> None:
        self.thread.join(seconds)
        if self.thread.is_alive() and self.fault is None:
            self.fault = f"{self.name} did not take all it was told in {seconds:.0f} s: the rest is left"

    def complain(self, say: Callable[[str], None]) -> None:
        if self.fault is not None and not self.complained:
            self.complained = True
            say(f"warning: {self.fault}")
