"""What came out of a study: measures of every generation and ensemble over the seeds that finished."""

from __future__ import annotations

import contextlib
import statistics
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from tutelage.artifacts.model import Model
from tutelage.evaluation import at_chance, ensemble, measure
from tutelage.lineage import expected_scores, models_of
from tutelage.study.spec import Failure, Study, load_failures, load_study
from tutelage.user_code import data_only

Measures = dict[str, float | list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One generation of one lineage over the seeds.

    ``test`` and ``train`` hold the measures of each finished seed, in the order of ``seeds``; ``ensemble`` those of
    generations 0 to this one together, on the test set, in the order of ``ensemble_seeds``; ``expected`` is the
    closed form of the labelled class's score, where there is one. ``models`` has one entry for each seed asked for.
    ``at_chance`` and ``ensemble_at_chance`` are the seeds whose accuracy on the test set is no sign of having learned
    (``evaluation.at_chance``); they are measured like all others, and stand in every mean.
    """

    lineage: str
    place: int
    generation: str
    model: str
    expected: float | None
    models: tuple[Model, ...]
    seeds: list[int] = field(default_factory=list)
    test: list[Measures] = field(default_factory=list)
    train: list[Measures] = field(default_factory=list)
    holdout: list[Measures] = field(default_factory=list)
    ensemble_seeds: list[int] = field(default_factory=list)
    ensemble: list[Measures] = field(default_factory=list)
    at_chance: list[int] = field(default_factory=list)
    ensemble_at_chance: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The rows of a study, what it was asked for with, and why some of it is missing.

    ``name`` is that of the run's folder: a study that was written by an older version may have another name now.
    ``experiment`` names the experiment of a paper that the study is, or is a part of; ``precision`` is what it is
    trained in.
    """

    study: Study
    rows: tuple[Row, ...]
    command: str = ""
    failures: tuple[Failure, ...] = ()
    experiment: str = ""
    precision: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.study.name)


def spread(values: list[float]) -> tuple[float, float | None]:
    """Mean and standard deviation (divisor n - 1); None where there is a single value.

    >>> spread([1.0, 2.0, 3.0]), spread([2.0])
    ((2.0, 1.0), (2.0, None))
    """
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def load_results(name: str, runs: Path, *, trust: bool = True) -> Results:
    """Gather what is finished of a study that was written down, without loading its data or running a network.

    A network of the user's own is part of its models' addresses by the file that defines it. Where that is not plain
    to see, the code is imported; without ``trust`` it is not.

    Errors: ``ValueError`` with the nearest names, or for code that would have to be imported; ``storage.Damaged``.
    """
    written = load_study(name, runs)
    study = written.study
    with contextlib.nullcontext() if trust else data_only():
        models = {
            (number, seed): models_of(lineage, seed, written.fingerprints[number], written.precision, runs)
            for number, lineage in enumerate(study.lineages)
            for seed in study.seeds
        }
    found = results(study, models, written.num_classes)
    return replace(
        found,
        command=written.command,
        failures=load_failures(name, runs),
        name=name,
        experiment=written.experiment,
        precision=written.precision,
    )


def results(study: Study, models: dict[tuple[int, int], tuple[Model, ...]], num_classes: tuple[int, ...]) -> Results:
    """Gather what is finished; ``models`` by (place of the lineage, seed), ``num_classes`` by lineage."""
    rows = []
    for number, lineage in enumerate(study.lineages):
        scores = expected_scores(lineage, num_classes[number])
        lines = {seed: models[number, seed] for seed in study.seeds}
        kept: dict[int, list[Tensor]] = {seed: [] for seed in study.seeds}
        for place, generation in enumerate(lineage.generations):
            row = Row(
                lineage=lineage.name,
                place=place,
                generation=generation.name,
                model=generation.model,
                expected=scores[place],
                models=tuple(line[place] for line in lines.values()),
            )
            for seed, line in lines.items():
                if not line[place].finished:
                    continue
                evaluation = line[place].evaluation()
                row.seeds.append(seed)
                row.test.append(evaluation["test"])
                row.train.append(evaluation["train"])
                if "holdout" in evaluation:
                    row.holdout.append(evaluation["holdout"])
                predictions = line[place].predictions()
                labels = predictions["test_labels"]
                kept[seed].append(predictions["test"])
                if at_chance(predictions["test"], labels):
                    row.at_chance.append(seed)
                if place > 0 and len(kept[seed]) == place + 1:
                    together = ensemble(kept[seed])
                    row.ensemble_seeds.append(seed)
                    row.ensemble.append(measure(together, labels))
                    if at_chance(together, labels):
                        row.ensemble_at_chance.append(seed)
            rows.append(row)
    return Results(study=study, rows=tuple(rows))
