"""TensorBoard: ``RUNS/tensorboard/STUDY/ARM/seed-S/PLACE-GENERATION``, one folder a curve."""

from __future__ import annotations

import functools
import shlex
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tutelage import storage
from tutelage.track.curves import Line, RunInfo, slug

_WHOLE = "whole.txt"


def look(study: str, runs: Path) -> str:
    """How to look at it."""
    return f"curves: tensorboard --logdir {shlex.quote(str(runs / 'tensorboard' / study))}"


def open_curve(title: RunInfo, runs: Path) -> _Curve | None:
    """Open a curve; None where it is whole."""
    folder = runs / "tensorboard" / title.study / slug(title.arm) / f"seed-{title.seed}"
    folder /= f"{title.place}-{slug(title.generation)}"
    whole = folder / _WHOLE
    if whole.is_file() and whole.read_text() == title.address:
        return None
    return _Curve(folder, title.address)


class _Curve:
    """Writes the whole curve again when its training continues, in a file that takes the place of those before it."""

    def __init__(self, folder: Path, address: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        _hush()
        self.folder, self.address = folder, address
        (folder / _WHOLE).unlink(missing_ok=True)
        # Older files stay: a TensorBoard that is reading one would wait for it for ever.
        _come_last(folder)
        self.writer = SummaryWriter(folder, purge_step=0, flush_secs=5)

    def epochs(self, lines: Sequence[Line]) -> None:
        for line in lines:
            self._write({name: value for name, value in line.items() if name != "epoch"}, int(line["epoch"]))

    def finish(self, epoch: int, measures: Mapping[str, float]) -> None:
        self._write({f"final/{name}": value for name, value in measures.items()}, epoch)
        self.writer.close()
        storage.write_bytes(self.folder / _WHOLE, self.address.encode())

    def leave(self) -> None:
        self.writer.close()

    def _write(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)


def _come_last(folder: Path) -> None:
    """Wait until a file that is made now is the last by its name, which begins with the second, as TensorBoard reads.

    Files of a clock that was ahead would come last for ever: they go.
    """
    for path in folder.glob("events.out.tfevents.*"):
        second = path.name.split(".")[3]
        ahead = int(second) + 1 - time.time() if second.isdecimal() else 0.0
        if ahead > 2:
            path.unlink(missing_ok=True)
        elif ahead > 0:
            time.sleep(ahead)


@functools.cache
def _hush() -> None:
    """Keep the traceback of a full disk to one line: TensorBoard's own thread prints it, and raises it here again."""
    hook = threading.excepthook

    def quiet(fault: threading.ExceptHookArgs) -> None:
        if not type(fault.thread).__module__.startswith("tensorboard."):
            hook(fault)

    threading.excepthook = quiet
