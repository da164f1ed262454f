"""TensorBoard: one folder per curve, ``RUNS/tensorboard/STUDY/ARM/seed-S/PLACE-GENERATION``."""

from __future__ import annotations

import functools
import shlex
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tutelage import storage
from tutelage.lineage.events import EpochMetrics
from tutelage.track.curves import RunInfo, path_component

_COMPLETE_MARK = "whole.txt"
"""The file that marks a complete curve; it holds the model's address."""


def instructions(study: str, runs: Path) -> str:
    """One line that says how to view the curves."""
    return f"curves: tensorboard --logdir {shlex.quote(str(runs / 'tensorboard' / study))}"


def open_run(info: RunInfo, runs: Path) -> _Run | None:
    """Open a run; None where it is complete."""
    folder = runs / "tensorboard" / info.study / path_component(info.arm) / f"seed-{info.seed}"
    folder /= f"{info.place}-{path_component(info.generation)}"
    mark = folder / _COMPLETE_MARK
    if mark.is_file() and mark.read_text(encoding="utf-8") == info.address:
        return None
    return _Run(folder, info.address)


class _Run:
    """A curve. When its training is resumed it is written anew, to a file that replaces the earlier ones for readers.

    The new file begins with a purge of all steps (``purge_step=0``), so TensorBoard drops what it read before.
    """

    def __init__(self, folder: Path, address: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        _silence_writer_threads()
        self.folder = folder
        self.address = address
        (folder / _COMPLETE_MARK).unlink(missing_ok=True)
        # Older files are not deleted: a TensorBoard that is reading one would wait for it forever.
        _wait_to_sort_last(folder)
        self.writer = SummaryWriter(folder, purge_step=0, flush_secs=5)

    def log_epochs(self, epochs: Sequence[EpochMetrics]) -> None:
        for metrics in epochs:
            self._log({name: value for name, value in metrics.items() if name != "epoch"}, int(metrics["epoch"]))

    def finish(self, epoch: int, measures: Mapping[str, float]) -> None:
        self._log({f"final/{name}": value for name, value in measures.items()}, epoch)
        self.writer.close()
        storage.write_bytes(self.folder / _COMPLETE_MARK, self.address.encode())

    def close_incomplete(self) -> None:
        self.writer.close()

    def _log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)


def _wait_to_sort_last(folder: Path) -> None:
    """Wait until a new file sorts after all others by its name: TensorBoard reads files in that order.

    The name begins with the second of its creation. A file from more than two seconds ahead, written while the clock
    was wrong, would sort last for too long, and is deleted.
    """
    for path in folder.glob("events.out.tfevents.*"):
        second = path.name.split(".")[3]
        ahead = int(second) + 1 - time.time() if second.isdecimal() else 0.0
        if ahead > 2:
            path.unlink(missing_ok=True)
        elif ahead > 0:
            time.sleep(ahead)


@functools.cache
def _silence_writer_threads() -> None:
    """Suppress the tracebacks of TensorBoard's threads, such as on a full disk: the writer raises the error again."""
    hook = threading.excepthook

    def filtered_hook(args: threading.ExceptHookArgs) -> None:
        if not type(args.thread).__module__.startswith("tensorboard."):
            hook(args)

    threading.excepthook = filtered_hook
