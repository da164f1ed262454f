"""Run the models of a study over the images they were trained on, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tutelage.analysis.results import Results, Row
from tutelage.analysis.training_logits import (
    keep_training_labels,
    keep_training_logits,
    training_labels,
    training_logits,
)
from tutelage.artifacts.model import Model
from tutelage.data import DataConfig, Splits
from tutelage.data.load import load
from tutelage.paths import data_folder


class Measured(NamedTuple):
    """A model whose logits on its training images are now kept: which of how many, and where it stands."""

    number: int
    of: int
    row: Row
    seed: int


def measure_training_sets(results: Results, seed: int | None = None, *, logits: bool = True) -> Iterator[Measured]:
    """Keep what the diagnostics need of the training images: their labels and, with ``logits``, what each model says.

    Only what is missing is computed, and only for finished models (of one ``seed`` where given); the images are
    loaded if anything is.

    Errors: those of ``data.load.load`` and of ``analysis.training_logits``.

    >>> import tempfile, tutelage
    >>> results = tutelage.run("baseline", epochs=1, train_size=20, runs=tempfile.mkdtemp())
    >>> [done.number for done in measure_training_sets(results)], list(measure_training_sets(results))
    ([1], [])
    """
    sets: dict[DataConfig, Splits] = {}

    def splits(data: DataConfig) -> Splits:
        if data not in sets:
            sets[data] = load(data, data_folder())
        return sets[data]

    data = {lineage.name: lineage.data for lineage in results.study.lineages}
    missing: dict[str, tuple[Row, int, Model]] = {}
    for row in results.rows:
        for number, model in zip(results.study.seeds, row.models, strict=True):
            if not model.finished or (seed is not None and number != seed):
                continue
            if training_labels(model) is None:
                keep_training_labels(model, splits(data[row.lineage]))
            if logits and training_logits(model) is None:
                missing.setdefault(model.address, (row, number, model))
    for place, (row, number, model) in enumerate(missing.values(), 1):
        keep_training_logits(model, splits(data[row.lineage]))
        yield Measured(place, len(missing), row, number)
