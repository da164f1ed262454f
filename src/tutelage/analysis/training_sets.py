"""Run the models of a study on the images they were trained on, once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tutelage.analysis.results import GenerationResult, Results
from tutelage.analysis.training_logits import (
    store_training_labels,
    store_training_logits,
    training_labels,
    training_logits,
)
from tutelage.artifacts.model import Model
from tutelage.data import DataConfig, Splits
from tutelage.data.load import load
from tutelage.paths import data_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSetProgress:
    """A model has been run on its training images: the ``number``-th ``of`` all that have to be."""

    number: int
    of: int
    generation: GenerationResult
    seed: int


def measure_training_sets(
    results: Results, seed: int | None = None, *, logits: bool = True
) -> Iterator[TrainingSetProgress]:
    """Store what the diagnostics need of the training images: their labels and, with ``logits``, the models' logits.

    Only what is missing is computed, for finished models alone (those of ``seed``, if it is set). The images are not
    loaded if nothing is missing.

    Errors: those of ``data.load.load`` and of ``analysis.training_logits``.

    >>> import tempfile, tutelage
    >>> results = tutelage.run("baseline", epochs=1, train_size=20, runs=tempfile.mkdtemp())
    >>> [progress.number for progress in measure_training_sets(results)], list(measure_training_sets(results))
    ([1], [])
    """
    configs = {lineage.name: lineage.data for lineage in results.study.lineages}
    loaded: dict[DataConfig, Splits] = {}

    def splits(arm: str) -> Splits:
        config = configs[arm]
        if config not in loaded:
            loaded[config] = load(config, data_folder())
        return loaded[config]

    unmeasured: dict[str, tuple[GenerationResult, int, Model]] = {}
    for generation in results.generations:
        for number, result in generation.seeds.items():
            if seed is not None and number != seed:
                continue
            model = result.model
            if training_labels(model) is None:
                store_training_labels(model, splits(generation.arm))
            if logits and training_logits(model) is None:
                unmeasured.setdefault(model.address, (generation, number, model))
    for count, (generation, number, model) in enumerate(unmeasured.values(), 1):
        store_training_logits(model, splits(generation.arm))
        yield TrainingSetProgress(number=count, of=len(unmeasured), generation=generation, seed=number)
