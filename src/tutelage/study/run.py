"""Run a study: here, in this process or in one process a seed, side by side."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path

from tutelage import storage
from tutelage.config import data_folder
from tutelage.data import Splits
from tutelage.data.load import load
from tutelage.engine import Engine, keep_freed_memory
from tutelage.lineage import Lineage, Progress, Stopped, models_of, rehearse, train
from tutelage.study.machine import HERE, Machine
from tutelage.study.values import Failure, Study, Written, begun_otherwise, studies, write_failures, write_study
from tutelage.training import NotFinite

_BAD_INPUT = (ValueError, storage.InUse, NotFinite, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a running study tells, in plain values that cross between processes.

    ``phase`` is ``kept``, ``training``, ``measuring`` or ``finished`` (see ``lineage.Progress``), or ``warning``,
    ``failed`` or ``stopped``, with ``text``; a seed whose process died has failed in no ``lineage`` in particular.
    ``at_chance`` is ``lineage.Model.at_chance`` of a finished model.
    ``lines`` are the epochs' measures that no event before it told (``metrics.jsonl``), ``measures`` those of the
    finished model by set and name (``test/top1``), ``address`` is the model's.
    """

    seed: int
    phase: str
    lineage: str = ""
    generation: str = ""
    place: int = 0
    generations: int = 0
    step: int = 0
    steps: int = 0
    images: int = 0
    seconds: float = 0.0
    loss: float | None = None
    top1: float | None = None
    at_chance: bool = False
    text: str = ""
    address: str = ""
    lines: tuple[dict[str, float], ...] = ()
    measures: dict[str, float] = field(default_factory=dict)


def run(
    study: Study,
    *,
    runs: Path,
    machine: Machine = HERE,
    should_stop: Callable[[], bool] = lambda: False,
    command: str = "",
    experiment: str = "",
) -> Iterator[Event]:
    """Train all that is missing; yields events. An arm that fails at a seed, by whatever, leaves all others running.

    With ``TUTELAGE_TRACEBACK`` in the environment what nobody foresaw is raised, and ends the seeds of its process.

    ``command`` and the name of an ``experiment`` are kept with the study, to be shown beside its results.

    Errors: before anything is trained, ``ValueError`` for what does not fit, and where the machine is strict and the
    study was begun in another precision or on other images; in this process, ``Stopped``.
    """
    engine = machine.engine()
    loaded = load_all(study)
    for lineage, splits in zip(study.lineages, loaded, strict=True):
        rehearse(lineage, study.seeds[0], splits, runs, engine)
    storage.make_folder(runs)
    written = Written(
        study=study,
        precision=engine.precision,
        fingerprints=tuple(splits.fingerprint for splits in loaded),
        num_classes=tuple(splits.facts.num_classes for splits in loaded),
        command=command,
        experiment=experiment,
    )
    if differs := begun_otherwise(written, runs):
        text = f"this run was begun otherwise ({differs}): these are other models, and those of then stay as they are"
        if machine.strict:
            raise ValueError(f"{text}; strict refuses to begin them")
        yield Event(seed=study.seeds[0], phase="warning", text=text)
    write_study(written, runs)
    failures: list[Failure] = []
    write_failures(study.name, failures, runs)
    for event in _run_all(written, loaded, runs, machine, engine, should_stop):
        if event.phase == "failed":
            failures.append(Failure(seed=event.seed, arm=event.lineage, text=event.text))
            try:
                if study.name in studies(runs):  # a folder that is gone is not made anew
                    write_failures(study.name, failures, runs)
            except OSError as error:  # the others still run
                yield Event(seed=event.seed, phase="warning", text=f"why it failed is not kept: {error}")
        yield event


def _run_all(
    written: Written,
    loaded: list[Splits],
    runs: Path,
    machine: Machine,
    engine: Engine,
    should_stop: Callable[[], bool],
) -> Iterator[Event]:
    study = written.study
    waiting = [seed for seed in study.seeds if not _all_finished(written, seed, runs)]
    aside = waiting if machine.processes > 1 and len(waiting) > 1 else []
    for seed in study.seeds:
        if seed in aside:
            continue
        yield from _run_seed(study, seed, loaded, runs, engine, machine, should_stop)
    if aside:
        del loaded
        yield from _run_processes(study, aside, runs, machine, should_stop)


def _all_finished(written: Written, seed: int, runs: Path) -> bool:
    return all(
        model.finished
        for lineage, fingerprint in zip(written.study.lineages, written.fingerprints, strict=True)
        for model in models_of(lineage, seed, fingerprint, written.precision, runs)
    )


def load_all(study: Study) -> list[Splits]:
    """The data of each lineage; equal descriptions are loaded once."""
    found = {lineage.data: None for lineage in study.lineages}
    sets = {data: load(data, data_folder()) for data in found}
    return [sets[lineage.data] for lineage in study.lineages]


def _run_seed(
    study: Study,
    seed: int,
    loaded: list[Splits],
    runs: Path,
    engine: Engine,
    machine: Machine,
    should_stop: Callable[[], bool],
) -> Iterator[Event]:
    """The arms of one seed, one after the other; a fault that the user can act on ends its arm and no other."""
    broken: dict[str, str] = {}  # address of the generation that failed -> its arm
    for lineage, splits in zip(study.lineages, loaded, strict=True):
        models = models_of(lineage, seed, splits.fingerprint, engine.precision, runs)
        if shared := next((model.address for model in models if model.address in broken), None):
            text = f"it needs the generation that failed in {broken[shared]}"
            yield Event(seed=seed, phase="failed", lineage=lineage.name, text=text)
            continue
        warnings: list[str] = []
        fault: str | None = None
        try:
            for progress in train(
                lineage,
                seed,
                splits,
                runs=runs,
                engine=engine,
                should_stop=should_stop,
                warn=warnings.append,
                watch_test=study.watch_test,
                meter=study.meter,
                teacher_store=machine.teacher_store,
                strict=machine.strict,
            ):
                while warnings:
                    yield Event(seed=seed, phase="warning", lineage=lineage.name, text=warnings.pop(0))
                yield _event(lineage, seed, progress)
        except Stopped:
            raise
        except Exception as error:
            if os.environ.get("TUTELAGE_TRACEBACK") and not isinstance(error, _BAD_INPUT):
                raise
            if isinstance(error, NotFinite):  # it would be so again; whatever else it was may have passed
                broken[next(model.address for model in models if not model.finished)] = lineage.name
            fault = _told(error)
        while warnings:
            yield Event(seed=seed, phase="warning", lineage=lineage.name, text=warnings.pop(0))
        if fault is not None:  # told here, where nothing of what failed holds memory any more
            yield Event(seed=seed, phase="failed", lineage=lineage.name, text=fault)


def _told(error: Exception) -> str:
    """What happened, in one line; of what nobody foresaw also where."""
    if isinstance(error, _BAD_INPUT):
        return f"{error}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(f"{error}".split())[:300]
    return f"{type(error).__name__}{f': {text}' if text else ''} ({Path(last.filename).name}, line {last.lineno})"


def _event(lineage: Lineage, seed: int, progress: Progress) -> Event:
    record = progress.record
    evaluation = progress.model.evaluation() if progress.phase in ("kept", "finished") else {}
    measures = {
        f"{name}/{measure}": value
        for name, measured in evaluation.items()
        for measure, value in measured.items()
        if isinstance(value, float)
    }
    return Event(
        seed=seed,
        phase=progress.phase,
        lineage=lineage.name,
        generation=progress.generation.name,
        place=progress.place,
        generations=len(lineage.generations),
        step=record.step if record else 0,
        steps=record.steps if record else 0,
        images=record.images if record else 0,
        seconds=progress.seconds,
        loss=record.metrics["loss"] if record and record.metrics else None,
        top1=measures.get("test/top1"),
        at_chance=bool(measures) and progress.model.at_chance(),
        text=_shares(record.metrics) if record and record.metrics else "",
        address=progress.model.address,
        lines=progress.lines,
        measures=measures,
    )


def _shares(metrics: dict[str, float]) -> str:
    """The terms' shares of the gradient, where they are metered."""
    shares = {name.removeprefix("share/"): value for name, value in metrics.items() if name.startswith("share/")}
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())


def _run_processes(
    study: Study, seeds: list[int], runs: Path, machine: Machine, should_stop: Callable[[], bool]
) -> Iterator[Event]:
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


def _work(study: Study, seed: int, runs: Path, machine: Machine, pipe: Connection, parent: int) -> None:
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
        for event in _run_seed(study, seed, loaded, runs, engine, machine, lambda: asked or os.getppid() != parent):
            begun = True
            pipe.send(event)
    except Stopped as stop:
        pipe.send(Event(seed=seed, phase="stopped", text=str(stop)))
        code = 75
    except Exception as error:
        pipe.send(Event(seed=seed, phase="failed", text=_told(error)))
    pipe.close()
    sys.exit(code)
