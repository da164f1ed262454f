"""The arms of a study against one of them: the same seeds side by side, with intervals and corrected p-values."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tutelage.analysis.results import Measures, Results, Row
from tutelage.analysis.statistics import McNemar, Paired, PairedTest, Summary, holm, mcnemar, paired, summary
from tutelage.artifacts.model import Model
from tutelage.errors import unknown

LEVEL = 0.05
"""Below this corrected p-value a difference counts as shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """Where one arm stands: its last generation, or with ``ensemble`` all of its generations together.

    ``seeds`` are those it finished and ``models`` what the numbers come from, a tuple for each of them; ``top1`` and
    ``difference`` (to the reference, over the seeds that both finished, which are ``common``) are shares in [0, 1];
    ``corrected`` is Holm's p-value. ``at_chance`` are the seeds that learned nothing (``evaluation.at_chance``).
    """

    arm: str
    generation: str
    ensemble: bool
    seeds: tuple[int, ...]
    models: tuple[tuple[Model, ...], ...]
    top1: Summary | None
    nll: Summary | None
    ece: Summary | None
    common: tuple[int, ...] = ()
    difference: Paired | None = None
    corrected: float | None = None
    verdict: str = ""
    at_chance: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The arms of a study, each with its standing."""

    results: Results
    reference: str
    confidence: float
    test: PairedTest
    standings: tuple[ArmResult, ...]


def compare(
    results: Results, reference: str | None = None, *, confidence: float = 0.95, test: PairedTest = "t"
) -> Comparison:
    """Compare the last generation of each arm with that of the reference, by accuracy on the test set.

    A chain of equal networks gets a second line for the ensemble of all its generations, which costs as many times
    more to use. Holm's correction is over the arms that were tested, and over the ensembles apart.

    Errors: ``ValueError`` for a reference that is no arm, and those of :func:`paired`.
    """
    last = {row.lineage: row for row in results.rows}
    name = reference or results.study.reference or results.study.lineages[0].name
    if name not in last:
        raise unknown("reference", name, last)
    standings: list[ArmResult] = []
    for arm in last:
        line = tuple(row for row in results.rows if row.lineage == arm)
        chain = len(line) > 1 and len({row.model for row in line}) == 1
        together = [line[-1:], line] if chain else [line[-1:]]
        standings += [_standing(results, members, last[name], confidence, test) for members in together]
    return Comparison(
        results=results,
        reference=name,
        confidence=confidence,
        test=test,
        standings=tuple(_judged(standing) for standing in _corrected(standings)),
    )


def compare_models(first: Model, second: Model) -> McNemar:
    """McNemar's exact test on the test images of two single models, from their stored predictions.

    Errors: ``ValueError`` for models that were measured on different images.
    """
    ours, theirs = first.predictions(), second.predictions()
    labels = ours["test_labels"]
    if not labels.equal(theirs["test_labels"]):
        raise ValueError(f"models {first.address} and {second.address} were measured on different test images")
    right = [(found["test"].argmax(1) == labels).tolist() for found in (ours, theirs)]
    return mcnemar(*right)


def of(measures: list[Measures], name: str) -> list[float]:
    """One measure of each seed."""
    return [value for found in measures if isinstance(value := found[name], float)]


def _standing(
    results: Results, members: tuple[Row, ...], reference: Row, confidence: float, test: PairedTest
) -> ArmResult:
    """One arm's last generation, or several generations together; ``verdict`` is empty where the p-value decides."""
    row, ensemble = members[-1], len(members) > 1
    measures, seeds = (row.ensemble, row.ensemble_seeds) if ensemble else (row.test, row.seeds)
    models = dict(zip(results.study.seeds, zip(*(member.models for member in members), strict=True), strict=True))
    accuracy = dict(zip(seeds, of(measures, "top1"), strict=True))
    theirs = dict(zip(reference.seeds, of(reference.test, "top1"), strict=True))
    common = tuple(seed for seed in seeds if seed in theirs)
    told: dict[str, Summary | None] = {
        name: summary(of(measures, name), confidence) if measures else None for name in ("top1", "nll", "ece")
    }
    standing = ArmResult(
        arm=row.lineage,
        generation=f"ensemble of 0 to {row.place}" if ensemble else row.generation,
        ensemble=ensemble,
        seeds=tuple(seeds),
        models=tuple(models[seed] for seed in seeds),
        top1=told["top1"],
        nll=told["nll"],
        ece=told["ece"],
        at_chance=tuple(seed for seed in (row.ensemble_at_chance if ensemble else row.at_chance) if seed in seeds),
    )
    if row is reference and not ensemble:
        return replace(standing, verdict="reference")
    if not seeds:
        return replace(standing, verdict="not finished")
    data = {lineage.name: lineage.data.name for lineage in results.study.lineages}
    if data[row.lineage] != data[reference.lineage]:
        return replace(standing, verdict=f"not compared: on {data[row.lineage]}")
    if not common:
        return replace(standing, verdict="no seed in common with the reference")
    pupils = dict(zip(results.study.seeds, reference.models, strict=True))
    if all(models[seed] == (pupils[seed],) for seed in common):
        return replace(standing, verdict="the reference's own models")
    difference = paired([accuracy[seed] for seed in common], [theirs[seed] for seed in common], confidence, test)
    standing = replace(standing, common=common, difference=difference)
    if len(common) == 1:
        seed = common[0]
        by_image = "" if ensemble else _between(models[seed][0], pupils[seed])
        return replace(standing, verdict=f"one seed: no interval{by_image}")
    return standing


def _between(ours: Model, theirs: Model) -> str:
    return f"; McNemar p = {compare_models(ours, theirs).p:.2g} for these two models"


def _corrected(standings: list[ArmResult]) -> list[ArmResult]:
    found = list(standings)
    for ensemble in (False, True):
        tested = [
            (place, standing.difference.p)
            for place, standing in enumerate(standings)
            if standing.ensemble is ensemble and standing.difference is not None and standing.difference.p is not None
        ]
        for (place, _), corrected in zip(tested, holm([p for _, p in tested]), strict=True):
            found[place] = replace(found[place], corrected=corrected)
    return found


def _judged(standing: ArmResult) -> ArmResult:
    if standing.verdict:
        return standing
    difference = standing.difference
    assert difference is not None
    assert standing.corrected is not None
    if standing.corrected < LEVEL:
        return replace(standing, verdict="better" if difference.mean > 0 else "worse")
    return replace(standing, verdict=f"no difference shown at n = {difference.n}")
