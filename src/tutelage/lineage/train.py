"""Train a lineage: a loop over its generations, each trained once and kept under its address."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tutelage import storage
from tutelage.artifacts.model import Model
from tutelage.data import Splits
from tutelage.engine import Engine
from tutelage.lineage.addresses import models_of
from tutelage.lineage.generation_trainer import Habits, Job, Progress, Stopped
from tutelage.lineage.networks import LineageNetworks, TeacherStore
from tutelage.lineage.spec import Generation, Lineage
from tutelage.version import code

CHECKPOINT_SECONDS = float(os.environ.get("TUTELAGE_CHECKPOINT_SECONDS", "30"))
"""How much training a kill may cost, at the most."""


def train(
    lineage: Lineage,
    seed: int,
    splits: Splits,
    *,
    runs: Path,
    engine: Engine,
    should_stop: Callable[[], bool] = lambda: False,
    warn: Callable[[str], None] = print,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    watch_test: bool = False,
    meter: bool = False,
    teacher_store: TeacherStore = "off",
    strict: bool = False,
) -> Iterator[Progress]:
    """Train what is missing of a lineage, in order; yields :class:`Progress` all the while.

    After each epoch the holdout is measured, where there is one; the test set only with ``watch_test``. Nothing is
    ever chosen by either. ``meter`` records each term's share of the gradient once an epoch.
    ``teacher_store`` decides about time and disk (``runs/teachers``), never about what is learned. A training that
    continues with other threads, another torch, device or processor is told to ``warn``, and noted in the model's
    manifest; ``strict`` refuses it.

    Errors: :class:`Stopped` once ``should_stop`` says so and the moment is saved; ``NotFinite``;
    ``storage.InUse``; ``storage.Damaged`` for a stored model that is not what its manifest says; ``ValueError``,
    before anything is trained, for a network that does not fit the data, and where ``strict`` refuses; ``OSError``
    for a disk that is full, gone or not to be written.
    """

    def pulse() -> None:
        if should_stop():
            raise Stopped(f"{lineage.name} stopped between generations")

    code()  # asked now and remembered: the checkout may move on while this trains
    models = models_of(lineage, seed, splits.fingerprint, engine.precision, runs)
    rehearse(lineage, seed, splits, runs, engine, pulse)
    for place, (generation, model) in enumerate(zip(lineage.generations, models, strict=True)):
        pulse()
        if model.finished:
            model.verify()
            yield _kept(place, generation, model)
            continue
        with storage.lock(model.folder) as still_there:
            if model.finished:  # whoever held the lock has just trained it
                yield _kept(place, generation, model)
                continue
            habits = Habits(
                should_stop, warn, checkpoint_seconds, watch_test, meter, teacher_store, runs / "teachers", strict
            )
            job = Job(lineage, place, models, seed, splits, engine, habits, still_there)
            yield from job.run()


def _kept(place: int, generation: Generation, model: Model) -> Progress:
    if (left := model.folder / "checkpoints").exists():  # by a kill in the last moment of its training
        storage.remove(left)
    return Progress(place=place, generation=generation, model=model, phase="kept", lines=tuple(model.metrics()))


def rehearse(
    lineage: Lineage,
    seed: int,
    splits: Splits,
    runs: Path,
    engine: Engine,
    pulse: Callable[[], None] = lambda: None,
) -> None:
    """Make sure, before anything is trained, that every generation's networks and objective fit the data.

    ``pulse`` is called before each generation and may raise to stop.

    Errors: ``ValueError``, see :meth:`LineageNetworks.rehearse`.
    """
    models = models_of(lineage, seed, splits.fingerprint, engine.precision, runs)
    if not all(model.finished for model in models):
        LineageNetworks(lineage, models, seed, splits, engine).rehearse(pulse)
