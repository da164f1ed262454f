"""The results of a study: what every generation and ensemble measured, by seed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tutelage.artifacts.ensembles import ensemble_measures
from tutelage.artifacts.model import Model
from tutelage.evaluation import Measures
from tutelage.lineage import Generation, Lineage, expected_scores, models_of
from tutelage.study import Failure, Study, load_study
from tutelage.study.files import load_failures
from tutelage.user_code import data_only


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """What the finished model of one generation measured at one seed.

    ``ensemble`` is what generations 0 to this one measure together on the test set; None for generation 0, and where
    one before is not finished.
    """

    model: Model
    test: Measures
    train: Measures
    holdout: Measures | None = None
    ensemble: Measures | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
    """One generation of one arm over the seeds.

    ``models`` has one entry for each seed of the study, ``seeds`` one for each that is finished. ``expected`` is the
    closed form of the labelled class's score, where there is one. ``teachers`` are the names of its teachers.
    """

    arm: str
    place: int
    generation: Generation
    teachers: tuple[str, ...] = ()
    expected: float | None = None
    models: Mapping[int, Model] = field(default_factory=dict)
    seeds: Mapping[int, SeedResult] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the generation."""
        return self.generation.name

    @property
    def network(self) -> str:
        """The name of its network."""
        return self.generation.model

    def test(self) -> dict[int, Measures]:
        """The measures on the test set by seed."""
        return {seed: result.test for seed, result in self.seeds.items()}

    def train(self) -> dict[int, Measures]:
        """The measures on the training set by seed."""
        return {seed: result.train for seed, result in self.seeds.items()}

    def holdout(self) -> dict[int, Measures]:
        """The measures on the holdout by seed, where there is one."""
        results = self.seeds.items()
        return {seed: result.holdout for seed, result in results if result.holdout is not None}

    def ensemble(self) -> dict[int, Measures]:
        """The measures on the test set of generations 0 to this one together, by seed."""
        results = self.seeds.items()
        return {seed: result.ensemble for seed, result in results if result.ensemble is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The generations of a study with their results, and why some of them are missing.

    ``name`` is that of the run's folder: a study that was stored by an older version may have another name now.
    ``command`` is the request as it was typed, ``experiment`` names the experiment of a paper that the study is, or
    is a part of; ``precision`` is the one it is trained in; ``watch_test`` says that the test set was measured during
    training.
    """

    study: Study
    generations: tuple[GenerationResult, ...]
    command: str = ""
    failures: tuple[Failure, ...] = ()
    experiment: str = ""
    precision: str = ""
    name: str = ""
    watch_test: bool = False

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.study.name)

    def arms(self) -> dict[str, tuple[GenerationResult, ...]]:
        """The generations of each arm, in order."""
        names = [lineage.name for lineage in self.study.lineages]
        return {name: tuple(one for one in self.generations if one.arm == name) for name in names}


def load_results(name: str, runs: Path, *, trust: bool = True) -> Results:
    """Load what is finished of a stored study, without loading its data or running a network.

    Measures come from the models' ``evaluation.json``; logits are read only to measure an ensemble for the first
    time. A network of the user's own is part of its models' addresses by the file that defines it. Where that cannot
    be told without importing the code, it is imported; without ``trust`` that is refused.

    Errors: ``ValueError`` with the nearest names, or for code that would have to be imported; ``storage.Damaged``.
    """
    record = load_study(name, runs)
    generations: list[GenerationResult] = []
    for number, lineage in enumerate(record.study.lineages):
        with contextlib.nullcontext() if trust else data_only():
            models = {
                seed: models_of(lineage, seed, record.fingerprints[number], record.precision, runs, record.origins)
                for seed in record.study.seeds
            }
        generations += _generations(lineage, models, record.num_classes[number])
    return Results(
        study=record.study,
        generations=tuple(generations),
        command=record.command,
        failures=tuple(failure for failure in load_failures(name, runs) if _is_missing(failure, generations)),
        experiment=record.experiment,
        precision=record.precision,
        name=name,
        watch_test=record.watch_test,
    )


def _is_missing(failure: Failure, generations: Sequence[GenerationResult]) -> bool:
    """Whether what failed is still missing: another study may have trained it since."""
    failed = [generation for generation in generations if failure.arm in ("", generation.arm)]
    return not failed or any(failure.seed not in generation.seeds for generation in failed)


def _generations(
    lineage: Lineage, models: Mapping[int, tuple[Model, ...]], num_classes: int
) -> list[GenerationResult]:
    """The generations of one arm; ``models`` are those of the lineage by seed."""
    scores = expected_scores(lineage, num_classes)
    finished = {seed: [model.finished for model in line] for seed, line in models.items()}
    return [
        GenerationResult(
            arm=lineage.name,
            place=place,
            generation=generation,
            teachers=tuple(lineage.generations[teacher].name for teacher in generation.teachers),
            expected=scores[place],
            models={seed: line[place] for seed, line in models.items()},
            seeds={
                seed: _seed_result(line[: place + 1], whole=all(finished[seed][:place]))
                for seed, line in models.items()
                if finished[seed][place]
            },
        )
        for place, generation in enumerate(lineage.generations)
    ]


def _seed_result(models: tuple[Model, ...], whole: bool) -> SeedResult:
    """The result of the last of these models; with ``whole`` also what all of them measure together."""
    evaluation = models[-1].evaluation()
    return SeedResult(
        model=models[-1],
        test=evaluation["test"],
        train=evaluation["train"],
        holdout=evaluation.get("holdout"),
        ensemble=ensemble_measures(models) if whole and len(models) > 1 else None,
    )
