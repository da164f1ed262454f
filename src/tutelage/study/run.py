"""Run a study: in this process, or with each seed in a process of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tutelage import storage
from tutelage.data import Splits
from tutelage.data.decode_cache import datasets
from tutelage.engine import Engine
from tutelage.lineage import TrainOptions, dry_run, models_of, networks_of, read_origins
from tutelage.study.events import Event, Failed, Warned
from tutelage.study.execution import Execution
from tutelage.study.files import (
    Failure,
    StudyRecord,
    changes_since,
    studies,
    study_folder,
    write_failures,
    write_study,
)
from tutelage.study.processes import check_main_guard, run_processes
from tutelage.study.seed_run import load_all, run_seed
from tutelage.study.spec import Study


def run(
    study: Study,
    *,
    runs: Path,
    execution: Execution = Execution(),
    options: TrainOptions = TrainOptions(),
    should_stop: Callable[[], bool] = lambda: False,
    command: str = "",
    experiment: str = "",
) -> Iterator[Event]:
    """Train all that is missing; yields events. An arm that fails at a seed leaves all others running.

    With ``TUTELAGE_TRACEBACK`` in the environment, an error that nobody foresaw is raised, and ends the seeds of its
    process. ``command`` and the name of an ``experiment`` are stored with the study, to be shown beside its results.

    Errors: before anything is trained or stored, ``ValueError`` for what does not fit, and with ``options.strict``
    where the study was started in another precision or on other images; ``storage.InUse`` where another process runs
    this study; ``MemoryError``; in this process, ``Stopped``.
    """
    check_main_guard()
    engine = execution.engine()
    splits = load_all(study, execution)
    record = StudyRecord(
        study=study,
        precision=engine.precision,
        fingerprints=tuple(data.fingerprint for data in splits),
        num_classes=tuple(data.info.num_classes for data in splits),
        origins=read_origins(study.lineages),
        command=command,
        experiment=experiment,
        watch_test=options.watch_test,
    )
    unfinished = [seed for seed in study.seeds if not _finished(record, seed, runs)]
    if unfinished:
        for lineage, data in zip(study.lineages, splits, strict=True):
            dry_run(networks_of(lineage, unfinished[0], data, runs, engine))
    storage.make_folder(runs)
    with contextlib.ExitStack() as until_done:
        if unfinished:  # a second command for this study changes nothing in it while this one runs
            until_done.enter_context(storage.lock(study_folder(study.name, runs)))
        yield from _run_stored(record, unfinished, splits, runs, execution, engine, options, should_stop)


def _run_stored(
    record: StudyRecord,
    unfinished: list[int],
    splits: list[Splits],
    runs: Path,
    execution: Execution,
    engine: Engine,
    options: TrainOptions,
    should_stop: Callable[[], bool],
) -> Iterator[Event]:
    """Store a study, train what is missing of it, and store why parts of it failed."""
    study = record.study
    if changes := changes_since(record, runs):
        message = f"settings changed since this run was started ({changes}): new models will be trained"
        if options.strict:
            raise ValueError(f"{message}, and strict refuses that")
        yield Warned(seed=study.seeds[0], message=f"{message}; the existing ones are kept")
    write_study(record, runs)
    failures: list[Failure] = []
    write_failures(study.name, failures, runs)
    for event in _run_seeds(study, unfinished, splits, runs, execution, engine, options, should_stop):
        if isinstance(event, Failed):
            failures.append(Failure(seed=event.seed, arm=event.arm, message=event.message))
            try:
                if study.name in studies(runs):  # a folder that was deleted is not made again
                    write_failures(study.name, failures, runs)
            except OSError as error:  # the others still run
                yield Warned(seed=event.seed, message=f"why it failed could not be stored: {error}")
        yield event


def _run_seeds(
    study: Study,
    unfinished: list[int],
    splits: list[Splits],
    runs: Path,
    execution: Execution,
    engine: Engine,
    options: TrainOptions,
    should_stop: Callable[[], bool],
) -> Iterator[Event]:
    in_processes = unfinished if execution.processes > 1 and len(unfinished) > 1 else []
    for seed in study.seeds:
        if seed not in in_processes:
            yield from run_seed(study, seed, splits, runs, engine, options, should_stop)
    if in_processes:
        del splits  # each process reads the images itself: no copy stays here
        datasets.clear()
        yield from run_processes(study, in_processes, runs, execution, options, should_stop)


def _finished(record: StudyRecord, seed: int, runs: Path) -> bool:
    return all(
        model.finished
        for lineage, fingerprint in zip(record.study.lineages, record.fingerprints, strict=True)
        for model in models_of(lineage, seed, fingerprint, record.precision, runs, record.origins)
    )
