"""Pass a study's events to trackers, each in a thread of its own, so that none can stop or delay training."""

from __future__ import annotations

import importlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tutelage.lineage import TrainingProgress
from tutelage.study import Event, Study
from tutelage.track.curves import write_curves

FINISH_SECONDS = 30.0
"""How long all trackers together may still write when a study has ended."""

STOP_SECONDS = 3.0
"""How long they may when it was stopped."""


def _log_to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def dispatch_events(
    events: Iterator[Event],
    study: Study,
    trackers: Sequence[str],
    runs: Path,
    log: Callable[[str], None] = _log_to_stderr,
) -> Iterator[Event]:
    """Pass a study's events to its trackers (see :func:`select_trackers`), and yield them unchanged.

    After the first event, ``log`` is called with one line per tracker that says how to view its curves. A tracker
    that fails receives nothing more, and its error is logged once; the next run of the same study gives it what it
    lacks.
    """
    threads: list[_TrackerThread] = []
    seconds = STOP_SECONDS
    try:
        for number, event in enumerate(events):
            if number == 0:  # not before: a study that fails its checks starts no tracker
                threads = [_TrackerThread(name, study, runs) for name in trackers]
            for thread in threads:
                thread.send(event)
                thread.log_failure(log)
            yield event
            if number == 0:
                for thread in threads:
                    log(thread.instructions)
        seconds = FINISH_SECONDS
    finally:
        for thread in threads:
            thread.close()
        deadline = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            thread.log_failure(log)


class _TrackerThread:
    """One tracker in its thread. The thread is a daemon, so that a server that never replies cannot keep the process.

    ``failure`` is set in either thread and read in the main one; ``log`` is only called there.
    """

    def __init__(self, name: str, study: Study, runs: Path) -> None:
        self.name = name
        self.study = study
        self.runs = runs
        self.tracker = importlib.import_module(f"tutelage.track.{name}")
        self.instructions: str = self.tracker.instructions(study.name, runs)
        self.failure: str | None = None
        self._failure_logged = False
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            write_curves(iter(self._queue.get, None), self.study, self.runs, self.tracker.open_run)
        except (Exception, SystemExit) as error:  # a tracker's package may even exit
            message = " ".join(f"{error}".split())[:300]
            reason = f"{type(error).__name__}{': ' + message if message else ''}"
            self.failure = f"{self.name} failed and receives no more events: {reason}"

    def send(self, event: Event) -> None:
        """Queue an event; progress within an epoch is skipped, since no tracker shows it."""
        if self.failure is None and (not isinstance(event, TrainingProgress) or event.epochs):
            self._queue.put(event)

    def close(self) -> None:
        """Tell the thread that no event follows."""
        self._queue.put(None)

    def join(self, seconds: float) -> None:
        """Wait until the thread has written everything, at most so long."""
        self._thread.join(seconds)
        if self._thread.is_alive() and self.failure is None:
            self.failure = (
                f"{self.name} did not finish writing in {seconds:.0f} s: the next run of this study continues it"
            )

    def log_failure(self, log: Callable[[str], None]) -> None:
        """Log the failure, once."""
        if self.failure is not None and not self._failure_logged:
            self._failure_logged = True
            log(f"warning: {self.failure}")
