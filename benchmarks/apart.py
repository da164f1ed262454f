"""A block that runs in a process of its own: with its own number of threads and its own allocator."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from benchmarks.loops import Block
from tutelage.engine import keep_freed_memory


class Apart:
    """``make(*given)`` is made there, and run there at each call; ``tuned`` is this library's allocator setting."""

    def __init__(self, make: Callable[..., Block], *given: Any, threads: int, tuned: bool = True) -> None:
        context = multiprocessing.get_context("spawn")
        self.here, there = context.Pipe()
        # Not a daemon: a DataLoader there may have workers of its own.
        self.process = context.Process(target=_serve, args=(there, make, given, threads, tuned), daemon=False)
        self.process.start()
        self.wait()  # for it to be made

    def start(self) -> None:
        self.here.send("go")

    def wait(self) -> None:
        self.here.recv()

    def __call__(self) -> None:
        self.start()
        self.wait()

    def close(self) -> None:
        self.here.send("end")
        self.process.join()


def _serve(pipe: Connection, make: Callable[..., Block], given: tuple[Any, ...], threads: int, tuned: bool) -> None:
    torch.set_num_threads(threads)
    if tuned:
        keep_freed_memory()
    block = make(*given)
    pipe.send("made")
    while pipe.recv() == "go":
        block()
        pipe.send("done")
