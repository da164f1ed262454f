"""Run a study: in this process, or in one process a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tutelage import storage
from tutelage.data import Splits
from tutelage.engine import Engine
from tutelage.lineage import models_of, rehearse
from tutelage.study.execution import HERE, Execution
from tutelage.study.processes import run_processes
from tutelage.study.seed_run import Event, load_all, run_seed
from tutelage.study.spec import Failure, Study, StudyRecord, begun_otherwise, studies, write_failures, write_study


def run(
    study: Study,
    *,
    runs: Path,
    machine: Execution = HERE,
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
    written = StudyRecord(
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
    written: StudyRecord,
    loaded: list[Splits],
    runs: Path,
    machine: Execution,
    engine: Engine,
    should_stop: Callable[[], bool],
) -> Iterator[Event]:
    study = written.study
    waiting = [seed for seed in study.seeds if not _all_finished(written, seed, runs)]
    aside = waiting if machine.processes > 1 and len(waiting) > 1 else []
    for seed in study.seeds:
        if seed in aside:
            continue
        yield from run_seed(study, seed, loaded, runs, engine, machine, should_stop)
    if aside:
        del loaded
        yield from run_processes(study, aside, runs, machine, should_stop)


def _all_finished(written: StudyRecord, seed: int, runs: Path) -> bool:
    return all(
        model.finished
        for lineage, fingerprint in zip(written.study.lineages, written.fingerprints, strict=True)
        for model in models_of(lineage, seed, fingerprint, written.precision, runs)
    )
