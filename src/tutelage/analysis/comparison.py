"""Compare the arms of a study with one of them: paired by seed, with intervals and corrected p-values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tutelage.analysis.results import GenerationResult, Results
from tutelage.analysis.statistics import McNemar, Paired, PairedTest, Summary, holm, mcnemar, paired
from tutelage.analysis.summaries import measure_summary
from tutelage.artifacts.model import Model
from tutelage.errors import unknown
from tutelage.evaluation import Measures

LEVEL = 0.05
"""A difference counts as shown where its corrected p-value is below this."""

Verdict = Literal[
    "reference",
    "unfinished",
    "other data",
    "no common seed",
    "same models",
    "one seed",
    "better",
    "worse",
    "not shown",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """The result of one arm: of its last generation, or of all its generations together with ``ensemble``.

    ``measures`` on the test set and the ``models`` they come from are those of the seeds that are finished. ``top1``,
    ``nll`` and ``ece`` are over them. ``differences`` to the reference are in top-1 accuracy, a share in [0, 1], by
    the seeds that both finished, and ``difference`` is over them; ``corrected`` is Holm's p-value. ``mcnemar``
    compares the two single models where there is one seed.
    """

    arm: str
    place: int
    generation: str
    ensemble: bool
    measures: Mapping[int, Measures]
    models: Mapping[int, tuple[Model, ...]]
    top1: Summary | None
    nll: Summary | None
    ece: Summary | None
    differences: Mapping[int, float] = field(default_factory=dict)
    difference: Paired | None = None
    corrected: float | None = None
    mcnemar: McNemar | None = None
    verdict: Verdict = "unfinished"

    @property
    def at_chance(self) -> tuple[int, ...]:
        """The seeds whose accuracy is not significantly above guessing."""
        return tuple(seed for seed, measures in self.measures.items() if measures.at_chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The arms of a study compared with one of them, the ``reference``."""

    results: Results
    reference: str
    confidence: float
    test: PairedTest
    arms: tuple[ArmResult, ...]


def compare(
    results: Results, reference: str | None = None, *, confidence: float = 0.95, test: PairedTest = "t"
) -> Comparison:
    """Compare the last generation of each arm with that of the reference, by accuracy on the test set.

    A chain of equal networks is compared a second time as the ensemble of all its generations, which costs as many
    times more to use. Holm's correction is over the arms that were tested; the ensembles are corrected on their own.

    Errors: ``ValueError`` for a reference that is no arm, and those of :func:`paired`.
    """
    arms = results.arms()
    name = reference or results.study.reference or results.study.lineages[0].name
    if name not in arms:
        raise unknown("reference", name, arms)
    compared: list[ArmResult] = []
    for chain in arms.values():
        compared.append(_compare(results, chain[-1:], arms[name][-1], confidence, test))
        if len(chain) > 1 and len({generation.network for generation in chain}) == 1:
            compared.append(_compare(results, chain, arms[name][-1], confidence, test))
    return Comparison(
        results=results,
        reference=name,
        confidence=confidence,
        test=test,
        arms=tuple(_judge(arm) for arm in _correct(compared)),
    )


def compare_models(first: Model, second: Model) -> McNemar:
    """McNemar's exact test of two models on the same test images, from their stored predictions.

    Errors: ``ValueError`` for models that were measured on different images.
    """
    ours, theirs = first.predictions(), second.predictions()
    labels = ours["test_labels"]
    if not labels.equal(theirs["test_labels"]):
        raise ValueError(f"models {first.address} and {second.address} were measured on different test images")
    right = [(predictions["test"].argmax(1) == labels).tolist() for predictions in (ours, theirs)]
    return mcnemar(*right)


def _compare(
    results: Results,
    chain: tuple[GenerationResult, ...],
    reference: GenerationResult,
    confidence: float,
    test: PairedTest,
) -> ArmResult:
    """The last of some generations, or all of them together, beside the reference; not corrected yet."""
    last, ensemble = chain[-1], len(chain) > 1
    measures = last.ensemble() if ensemble else last.test()
    arm = ArmResult(
        arm=last.arm,
        place=last.place,
        generation=last.name,
        ensemble=ensemble,
        measures=measures,
        models={seed: tuple(generation.models[seed] for generation in chain) for seed in measures},
        top1=measure_summary(measures.values(), "top1", confidence),
        nll=measure_summary(measures.values(), "nll", confidence),
        ece=measure_summary(measures.values(), "ece", confidence),
    )
    if last is reference and not ensemble:
        return replace(arm, verdict="reference")
    if not measures:
        return replace(arm, verdict="unfinished")
    data = {lineage.name: lineage.data.name for lineage in results.study.lineages}
    if data[last.arm] != data[reference.arm]:
        return replace(arm, verdict="other data")
    theirs = reference.test()
    common = [seed for seed in measures if seed in theirs]
    if not common:
        return replace(arm, verdict="no common seed")
    if all(arm.models[seed] == (reference.models[seed],) for seed in common):
        return replace(arm, verdict="same models")
    ours, others = [measures[seed].top1 for seed in common], [theirs[seed].top1 for seed in common]
    arm = replace(
        arm,
        differences={seed: measures[seed].top1 - theirs[seed].top1 for seed in common},
        difference=paired(ours, others, confidence, test),
        verdict="not shown",
    )
    if len(common) > 1:
        return arm
    seed = common[0]
    between = None if ensemble else compare_models(last.models[seed], reference.models[seed])
    return replace(arm, verdict="one seed", mcnemar=between)


def _correct(arms: list[ArmResult]) -> list[ArmResult]:
    corrected = list(arms)
    for ensemble in (False, True):
        tested = {
            number: arm.difference.p
            for number, arm in enumerate(arms)
            if arm.ensemble is ensemble and arm.difference is not None and arm.difference.p is not None
        }
        for number, p in zip(tested, holm(list(tested.values())), strict=True):
            corrected[number] = replace(corrected[number], corrected=p)
    return corrected


def _judge(arm: ArmResult) -> ArmResult:
    if arm.corrected is None or arm.corrected >= LEVEL:
        return arm
    assert arm.difference is not None
    return replace(arm, verdict="better" if arm.difference.mean > 0 else "worse")
