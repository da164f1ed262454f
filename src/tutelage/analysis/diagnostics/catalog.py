"""The diagnostics of a study: their names, what they need, and all of their records together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from tutelage.analysis.diagnostics import calibration, distillation, targets, test_set, training_set
from tutelage.analysis.diagnostics.calibration import CalibrationRecord, ReliabilityRecord
from tutelage.analysis.diagnostics.distillation import AgreementRecord
from tutelage.analysis.diagnostics.records import Diagnosis, GenerationRecord
from tutelage.analysis.diagnostics.selection import select_generations
from tutelage.analysis.diagnostics.targets import TargetsRecord, TemperaturesRecord
from tutelage.analysis.diagnostics.test_set import AccuracyRecord, SuperclassRecord
from tutelage.analysis.diagnostics.training_set import EnergyRecord, ScoresRecord, SecondChoicesRecord
from tutelage.analysis.ensembles import EnsembleRecord, UnfitEnsemble, measure_ensembles, parse_ensembles
from tutelage.analysis.results import GenerationResult, Results
from tutelage.errors import unknown

R = TypeVar("R")

DIAGNOSTICS = (
    "generations",
    "energy",
    "scores",
    "second",
    "coarse",
    "targets",
    "temperatures",
    "agreement",
    "calibration",
    "reliability",
    "ensembles",
)
"""The names of all diagnostics, in the order they are reported."""
NEED_LOGITS = frozenset({"scores", "second", "targets", "temperatures"})
"""Those that need the logits of every model on its training images (``analysis.training_sets``)."""
NEED_LABELS = NEED_LOGITS | {"coarse"}
"""Those that need the labels of the training images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostics:
    """The diagnostics of a study: a field of records for each of :data:`DIAGNOSTICS`, empty unless it was requested.

    ``names`` are those requested and ``seeds`` the seeds they are over; ``finished`` are the generations with at
    least one finished model at these seeds, ``unfinished`` the others. ``unfit_ensembles`` are requested ensembles
    that some arms do not have.
    """

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    finished: tuple[GenerationRecord, ...]
    unfinished: tuple[GenerationRecord, ...]
    generations: Diagnosis[AccuracyRecord]
    energy: Diagnosis[EnergyRecord]
    scores: Diagnosis[ScoresRecord]
    second: Diagnosis[SecondChoicesRecord]
    coarse: Diagnosis[SuperclassRecord]
    targets: Diagnosis[TargetsRecord]
    temperatures: Diagnosis[TemperaturesRecord]
    agreement: Diagnosis[AgreementRecord]
    calibration: Diagnosis[CalibrationRecord]
    reliability: Diagnosis[ReliabilityRecord]
    ensembles: tuple[EnsembleRecord, ...]
    unfit_ensembles: tuple[UnfitEnsemble, ...]


def check_request(
    results: Results, *, only: Sequence[str] = DIAGNOSTICS, seed: int | None = None, ensemble: Sequence[str] = ()
) -> None:
    """Check the arguments of :func:`diagnose`, before anything is read or computed.

    Errors: ``ValueError`` for a diagnostic, a seed or a member of an ensemble that does not exist, with the nearest
    names, and where nothing is finished.
    """
    for name in only:
        if name not in DIAGNOSTICS:
            raise unknown("diagnostic", name, DIAGNOSTICS)
    parse_ensembles(select_generations(results, seed), ensemble)


def diagnose(
    results: Results, *, only: Sequence[str] = DIAGNOSTICS, seed: int | None = None, ensemble: Sequence[str] = ()
) -> Diagnostics:
    """Compute the diagnostics of a study, by default all of them, over all seeds or for one.

    No network is run and no image is loaded: everything comes from stored predictions and logits. Generations whose
    logits on the training images are not stored are reported as missing, until
    ``analysis.training_sets.measure_training_sets`` has run. ``ensemble`` requests ensembles, see
    :func:`tutelage.analysis.ensembles.parse_ensembles`; they are included whether ``only`` names them or not.

    Errors: those of :func:`check_request`; ``storage.Damaged``.

    >>> import tempfile, tutelage
    >>> results = tutelage.run("baseline", epochs=1, train_size=20, runs=tempfile.mkdtemp())
    >>> (record,) = diagnose(results, only=["energy"]).energy.records
    >>> record.arm, record.seed, record.predicted
    ('baseline', 0, 1.0)
    """
    check_request(results, only=only, seed=seed, ensemble=ensemble)
    names = {*only, "ensembles"} if ensemble else set(only)
    selected = select_generations(results, seed)
    finished = [_name(generation) for generation in selected]
    every = [_name(generation) for generation in results.generations]

    def compute(name: str, function: Callable[[Sequence[GenerationResult]], Diagnosis[R]]) -> Diagnosis[R]:
        return function(selected) if name in names else Diagnosis()

    @cache  # two diagnostics share the work
    def targets_and_temperatures() -> tuple[Diagnosis[TargetsRecord], Diagnosis[TemperaturesRecord]]:
        return targets.measure_targets(selected)

    @cache
    def calibration_and_reliability() -> tuple[Diagnosis[CalibrationRecord], Diagnosis[ReliabilityRecord]]:
        return calibration.measure_calibration(selected)

    ensembles, unfit = parse_ensembles(selected, ensemble)
    return Diagnostics(
        names=tuple(name for name in DIAGNOSTICS if name in names),
        seeds=results.study.seeds if seed is None else (seed,),
        finished=tuple(finished),
        unfinished=tuple(name for name in every if name not in finished),
        generations=compute("generations", lambda _: test_set.measure_accuracy(selected, results.study)),
        energy=compute("energy", training_set.measure_energy),
        scores=compute("scores", training_set.measure_scores),
        second=compute("second", training_set.measure_second_choices),
        coarse=compute("coarse", test_set.measure_superclasses),
        targets=compute("targets", lambda _: targets_and_temperatures()[0]),
        temperatures=compute("temperatures", lambda _: targets_and_temperatures()[1]),
        agreement=compute("agreement", distillation.measure_agreement),
        calibration=compute("calibration", lambda _: calibration_and_reliability()[0]),
        reliability=compute("reliability", lambda _: calibration_and_reliability()[1]),
        ensembles=measure_ensembles(ensembles) if "ensembles" in names else (),
        unfit_ensembles=unfit,
    )


def _name(generation: GenerationResult) -> GenerationRecord:
    return GenerationRecord(arm=generation.arm, generation=generation.name, place=generation.place)
