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
from tutelage.interrupts import CAN_BLOCK_SIGNALS, signals_blocked
from tutelage.lineage import Stopped, TrainOptions
from tutelage.study.events import Event, Failed, SeedStopped
from tutelage.study.execution import Execution
from tutelage.study.seed_run import describe, load_all, run_seed
from tutelage.study.spec import Study

RESUMABLE = 75
"""The exit code of a process that stopped where it can be resumed."""
UNGUARDED = 76
"""The exit code of a process in which importing the main script began to train, see :func:`check_main_guard`."""
_NAME = "tutelage seed"


def check_main_guard() -> None:
    """End a seed's process whose main script trains as it is imported, instead of starting more processes.

    A spawned process imports the main script before anything else. A script that trains without
    ``if __name__ == "__main__"`` would do so again in each of them; its parent reports that once.
    """
    process = multiprocessing.current_process()
    if process.name.startswith(_NAME) and getattr(process, "_inheriting", False):  # set while it imports the script
        os._exit(UNGUARDED)


def run_processes(
    study: Study,
    seeds: list[int],
    runs: Path,
    execution: Execution,
    options: TrainOptions,
    should_stop: Callable[[], bool],
) -> Iterator[Event]:
    """Train each seed in a process that ends with this one; one that dies fails alone.

    Errors: ``Stopped`` once each process has saved its state; ``RuntimeError`` for a main script that trains when it
    is imported.
    """
    context = multiprocessing.get_context("spawn")
    spawn: Callable[..., multiprocessing.process.BaseProcess] = context.Process
    waiting = list(seeds)
    running: dict[Connection, tuple[int, multiprocessing.process.BaseProcess]] = {}
    stopping = stopped = False
    if CAN_BLOCK_SIGNALS:
        resource_tracker.ensure_running()  # which unblocks all signals as it starts
    try:
        while waiting or running:
            while waiting and len(running) < execution.processes and not stopping:
                seed = waiting.pop(0)
                receiver, sender = context.Pipe(duplex=False)
                arguments = (study, seed, runs, execution, options, sender, os.getpid())
                process = spawn(target=_work, args=arguments, name=f"{_NAME} {seed}")
                # Ctrl-C goes to this process and to all of these: they ignore it, and this one asks them to stop.
                with signals_blocked(signal.SIGINT):
                    process.start()
                sender.close()
                running[receiver] = (seed, process)
            if should_stop() and not stopping:
                stopping, waiting = True, []
                for _, process in running.values():
                    process.terminate()
            for pipe in wait(list(running), timeout=0.2):
                assert isinstance(pipe, Connection)
                seed, process = running[pipe]
                try:
                    event: Event = pipe.recv()
                except (EOFError, OSError):  # the latter in the middle of a message
                    process.join()
                    del running[pipe]
                    code = process.exitcode
                    if code == UNGUARDED:
                        raise RuntimeError(
                            "seeds run in processes of their own, and each imports the calling script: put what "
                            'trains under `if __name__ == "__main__":`, or ask for processes=1'
                        ) from None
                    # Asked to stop before it had installed its signal handler:
                    unborn = should_stop() and code == -signal.SIGTERM
                    stopped |= code == RESUMABLE  # whoever asked it to
                    if code not in (0, RESUMABLE) and not unborn:
                        yield Failed(seed=seed, message=f"its process ended with {_how(code)}")
                else:
                    yield event
    finally:
        for _, process in running.values():
            process.terminate()
            process.join(10)
    if stopping or stopped:
        raise Stopped("stopped, with every seed saved")


def _is_orphan(parent: int) -> bool:
    """Whether the parent process has ended. Its children are then given another parent, except on Windows."""
    process = multiprocessing.parent_process()
    if hasattr(os, "fork") or process is None:
        return os.getppid() != parent
    return not process.is_alive()


def _how(code: int | None) -> str:
    if code == -9:  # SIGKILL, which Windows lacks
        return "signal 9 (the system sends it where memory runs out)"
    return f"signal {-code}" if code and code < 0 else f"code {code}"


def _work(
    study: Study,
    seed: int,
    runs: Path,
    execution: Execution,
    options: TrainOptions,
    pipe: Connection,
    parent: int,
) -> None:
    """The body of one seed's process; it ends with its parent, however that ends."""
    stop_requested = training = False

    def request_stop(*_: object) -> None:
        nonlocal stop_requested
        stop_requested = True
        if not training:  # nothing has to be saved yet
            storage.remove_temporary_files()
            os._exit(RESUMABLE)

    signal.signal(signal.SIGTERM, request_stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: die with the parent
    if _is_orphan(parent):
        return
    keep_freed_memory()
    code = 0
    try:
        engine = execution.engine()
        splits = load_all(study, execution)
        orphaned_or_stopped = lambda: stop_requested or _is_orphan(parent)  # noqa: E731
        for event in run_seed(study, seed, splits, runs, engine, options, orphaned_or_stopped):
            training = True
            pipe.send(event)
    except Stopped as stop:
        pipe.send(SeedStopped(seed=seed, message=str(stop)))
        code = RESUMABLE
    except Exception as error:
        pipe.send(Failed(seed=seed, message=describe(error)))
    pipe.close()
    sys.exit(code)
