"""Run a block in a process of its own, with its own number of threads and its own allocator settings."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from benchmarks.loops import Block
from tutelage.engine import keep_freed_memory


class WorkerProcess:
    """A process that calls ``make(*arguments)`` once and runs the resulting block at each call.

    ``tuned`` applies this library's allocator settings there.
    """

    def __init__(self, make: Callable[..., Block], *arguments: Any, threads: int, tuned: bool = True) -> None:
        context = multiprocessing.get_context("spawn")
        self.here, there = context.Pipe()
        # Not a daemon: a DataLoader in it may start workers of its own.
        self.process = context.Process(target=_serve, args=(there, make, arguments, threads, tuned), daemon=False)
        self.process.start()
        self.wait()  # until it is ready

    def start(self) -> None:
        """Start the block."""
        self.here.send("go")

    def wait(self) -> None:
        """Wait until the block is done."""
        self.here.recv()

    def __call__(self) -> None:
        """Run the block once."""
        self.start()
        self.wait()

    def close(self) -> None:
        """End the process."""
        self.here.send("end")
        self.process.join()


def _serve(
    pipe: Connection, make: Callable[..., Block], arguments: tuple[Any, ...], threads: int, tuned: bool
) -> None:
    torch.set_num_threads(threads)
    if tuned:
        keep_freed_memory()
    block = make(*arguments)
    pipe.send("ready")
    while pipe.recv() == "go":
        block()
        pipe.send("done")
