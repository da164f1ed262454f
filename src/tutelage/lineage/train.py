"""Train a lineage: a loop over its generations, each trained once and stored under its address."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tutelage import storage
from tutelage.data import Splits
from tutelage.engine import Engine
from tutelage.lineage.addresses import models_of
from tutelage.lineage.checkpoints import Callbacks, Stopped
from tutelage.lineage.dry_run import dry_run
from tutelage.lineage.events import Finished, ModelEvent, finished
from tutelage.lineage.generation_trainer import GenerationTrainer
from tutelage.lineage.networks import LineageNetworks
from tutelage.lineage.options import TrainOptions
from tutelage.lineage.spec import Lineage
from tutelage.version import source_version


def train(
    lineage: Lineage,
    seed: int,
    splits: Splits,
    *,
    runs: Path,
    engine: Engine,
    options: TrainOptions = TrainOptions(),
    should_stop: Callable[[], bool] = lambda: False,
    warn: Callable[[str], None] = print,
    check: bool = True,
) -> Iterator[ModelEvent]:
    """Train what is missing of a lineage, in order; yields events all the while.

    After each epoch the holdout is measured, where there is one; the test set only with ``options.watch_test``.
    Nothing is ever chosen by either. A training run that is resumed in another environment is reported to ``warn``
    and recorded in the model's manifest; ``options.strict`` refuses it. ``check`` makes a dry run first, see
    :func:`dry_run`; leave it out where the lineage was checked before.

    Errors: :class:`Stopped` once ``should_stop`` says so and the state is saved; ``NotFinite``; ``storage.InUse``;
    ``storage.Damaged`` for a stored model that does not match its manifest; ``ValueError``, before anything is
    trained, for a network that does not fit the data, and where ``strict`` refuses; ``OSError`` for a disk that is
    full, gone or not writable.
    """

    def pulse() -> None:
        if should_stop():
            raise Stopped(f"{lineage.name} stopped between generations")

    source_version()  # resolved now and cached: the checkout may change while this trains
    networks = networks_of(lineage, seed, splits, runs, engine)
    if check:
        dry_run(networks_of(lineage, seed, splits, runs, engine), pulse)
    for place, model in enumerate(networks.models):
        pulse()
        if model.finished:
            model.verify()
            yield _already_finished(networks, place)
            continue
        with storage.lock(model.folder) as ensure_folder:
            if model.finished:  # another process trained it while this one waited for the lock
                yield _already_finished(networks, place)
                continue
            callbacks = Callbacks(should_stop, warn, ensure_folder)
            yield from GenerationTrainer(networks, place, options, callbacks, runs / "teachers").run()


def networks_of(lineage: Lineage, seed: int, splits: Splits, runs: Path, engine: Engine) -> LineageNetworks:
    """The networks of a lineage at one seed, its models in a runs folder."""
    models = models_of(lineage, seed, splits.fingerprint, engine.precision, runs)
    return LineageNetworks(lineage, models, seed, splits, engine)


def _already_finished(networks: LineageNetworks, place: int) -> Finished:
    model = networks.models[place]
    if (leftover := model.folder / "checkpoints").exists():  # of a kill in the last moment of its training
        storage.remove(leftover)
    return finished(networks.ref(place), model, tuple(model.metrics()), None)
