"""How far the reading of image files is: a bar in a terminal, one line elsewhere, nothing for what is soon over."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tutelage.cli.console import log, moves_cursor
from tutelage.progress import reported_to

if TYPE_CHECKING:
    from rich.progress import Progress

BAR_SECONDS, LINE_SECONDS = 1.0, 10.0
"""The time after which a bar appears in a terminal, and a line elsewhere."""
REFRESH_SECONDS = 0.1


@contextlib.contextmanager
def file_progress() -> Iterator[None]:
    """Show in the ``with`` block how far the reading of image files is."""
    bar = FileProgress()
    try:
        with reported_to(bar):
            yield
    finally:
        bar.close()


class FileProgress:
    """Shows numbers of files that have been read; each count from the first file on is one reading."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._printed = False
        self._bar: Progress | None = None
        self._refreshed = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show how far it is, where that takes long enough to ask."""
        now = time.monotonic()
        if self._started is None:
            self._started = now
        elif now - self._started >= BAR_SECONDS and moves_cursor():
            self._show(done, total)
        elif now - self._started >= LINE_SECONDS and not self._printed and done < total:
            self._printed = True
            left = (now - self._started) * (total - done) / done
            log(f"reading image files: {done:,} of {total:,} so far, about {left:.0f} s left")
        if done >= total:
            self.close()

    def _show(self, done: int, total: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("reading image files"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
            self._bar.add_task("", total=total)
            self._bar.start()
        (task,) = self._bar.tasks
        self._bar.update(task.id, completed=done, total=total)
        if time.monotonic() - self._refreshed >= REFRESH_SECONDS:
            self._refreshed = time.monotonic()
            self._bar.refresh()

    def close(self) -> None:
        """Remove the bar; the next call begins anew."""
        if self._bar is not None:
            self._bar.stop()
        self._started, self._printed, self._bar = None, False, None
