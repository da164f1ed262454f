"""Seeds side by side, each in a process of its own."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tutelage import storage
from tutelage.engine import keep_freed_memory
from tutelage.lineage import Stopped
from tutelage.study.execution import Execution
from tutelage.study.seed_run import Event, load_all, run_seed, told
from tutelage.study.spec import Study


def run_processes(
    study: Study, seeds: list[int], runs: Path, machine: Execution, should_stop: Callable[[], bool]
) -> Iterator[Event]:
    """Train each seed in a process that ends with this one; one that dies fails alone.

    Errors: ``Stopped`` once each process has saved where it is.
    """
    context = multiprocessing.get_context("spawn")
    spawned: Callable[..., multiprocessing.process.BaseProcess] = context.Process
    waiting = list(seeds)
    living: dict[Connection, tuple[int, multiprocessing.process.BaseProcess]] = {}
    stopped = left = False
    resource_tracker.ensure_running()  # which unblocks all signals as it starts
    try:
        while waiting or living:
            while waiting and len(living) < machine.processes and not stopped:
                seed = waiting.pop(0)
                here, there = context.Pipe(duplex=False)
                process = spawned(target=_work, args=(study, seed, runs, machine, there, os.getpid()))
                # Ctrl-C goes to this process and all of these: they do not hear it, this one asks them to stop.
                before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
                try:
                    process.start()
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, before)
                there.close()
                living[here] = (seed, process)
            if should_stop() and not stopped:
                stopped, waiting = True, []
                for _, process in living.values():
                    process.terminate()
            for pipe in wait(list(living), timeout=0.2):
                assert isinstance(pipe, Connection)
                seed, process = living[pipe]
                try:
                    event: Event = pipe.recv()
                except (EOFError, OSError):  # the latter in the middle of a message
                    process.join()
                    del living[pipe]
                    code = process.exitcode
                    ended = should_stop() and code == -signal.SIGTERM  # it was asked to before it could listen
                    left |= code == 75  # whoever asked it to stop
                    if code not in (0, 75) and not ended:
                        text = f"its process ended with {f'signal {-code}' if code and code < 0 else f'code {code}'}"
                        yield Event(seed=seed, phase="failed", text=text)
                else:
                    yield event
    finally:
        for _, process in living.values():
            process.terminate()
            process.join(10)
    if stopped or left:
        raise Stopped("stopped, with every seed saved")


def _work(study: Study, seed: int, runs: Path, machine: Execution, pipe: Connection, parent: int) -> None:
    """The body of one seed's process; it ends with its parent, however that ends."""
    asked = begun = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True
        if not begun:  # nothing is trained yet
            storage.abandon()
            os._exit(75)

    signal.signal(signal.SIGTERM, ask)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        return
    keep_freed_memory()
    code = 0
    try:
        engine = machine.engine()
        loaded = load_all(study)
        for event in run_seed(study, seed, loaded, runs, engine, machine, lambda: asked or os.getppid() != parent):
            begun = True
            pipe.send(event)
    except Stopped as stop:
        pipe.send(Event(seed=seed, phase="stopped", text=str(stop)))
        code = 75
    except Exception as error:
        pipe.send(Event(seed=seed, phase="failed", text=told(error)))
    pipe.close()
    sys.exit(code)
