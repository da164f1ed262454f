"""Compare the numbers that a paper printed with those that were measured, for studies that are experiments of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tutelage.analysis.results import GenerationResult, Results
from tutelage.analysis.statistics import Summary, summary
from tutelage.evaluation import Measures
from tutelage.experiments import experiments
from tutelage.experiments.scale import differences
from tutelage.experiments.spec import Experiment, Link, Remark
from tutelage.published import PublishedCell

IN_METRIC: Mapping[str, Callable[[Measures], float]] = {
    "top-1 accuracy %": lambda measures: 100 * measures.top1,
    "top-1 error %": lambda measures: 100 * (1 - measures.top1),
    "top-5 error %": lambda measures: 100 * (1 - measures.top5),
}
"""What was measured, in each printed metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedNumber:
    """One printed number and what was measured for it, both in the metric of the ``cell``.

    It belongs to a generation of an arm or, with ``ensemble``, to generations 0 to this one together. ``measured`` is
    over the finished seeds of those ``requested``, None if there is none; ``at_chance`` of them learned nothing.
    ``difference`` is measured less published. ``protocol_differences`` lists what was done otherwise than in the
    paper, ``unknowns`` what is not known of the paper's runs, with what was done here.
    """

    cell: PublishedCell
    arm: str
    place: int
    generation: str
    ensemble: bool
    measured: Summary | None
    difference: float | None
    requested: int
    at_chance: int
    protocol_differences: tuple[str, ...]
    unknowns: tuple[str, ...]

    @property
    def n(self) -> int:
        """The number of seeds that were measured."""
        return 0 if self.measured is None else self.measured.n


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedComparison:
    """The printed numbers of an experiment beside what a study of it measured.

    ``in_catalog`` says whether this version of tutelage has the experiment, ``has_numbers`` whether any of the
    paper's numbers are available. Arms and generations that the study does not train have no entry in ``numbers``.
    ``unknowns`` is what is not known of the paper's runs. ``unavailable_arms`` are arms of the paper that tutelage
    cannot train, each with the reason.
    """

    experiment: str
    in_catalog: bool = True
    has_numbers: bool = False
    numbers: tuple[PublishedNumber, ...] = ()
    unknowns: tuple[Remark, ...] = ()
    unavailable_arms: Mapping[str, str] = field(default_factory=dict)


def compare_published(results: Results) -> PublishedComparison | None:
    """Compare a study's results with the printed numbers of its experiment; None for a study that is no experiment.

    A difference in protocol is detected by comparing the experiment at full length with the study as it was run.
    """
    if not results.experiment:
        return None
    experiment = experiments().get(results.experiment)
    if experiment is None:
        return PublishedComparison(experiment=results.experiment, in_catalog=False)
    arms = [lineage.name for lineage in results.study.lineages]
    return PublishedComparison(
        experiment=experiment.name,
        has_numbers=bool(experiment.links),
        numbers=tuple(_numbers(experiment, results)),
        unknowns=tuple(_among(experiment.unknowns, arms)),
        unavailable_arms={arm.name: arm.reason for arm in experiment.unavailable_arms},
    )


def _numbers(experiment: Experiment, results: Results) -> Iterator[PublishedNumber]:
    run = {lineage.name: lineage for lineage in results.study.lineages}
    full = {lineage.name: lineage for lineage in experiment.study.lineages}
    generations = {(generation.arm, generation.place): generation for generation in results.generations}
    arithmetic = ("bf16 arithmetic",) if results.precision == "bf16" else ()
    for link in experiment.links:
        generation = generations.get((link.arm, link.place))
        if generation is None or link.arm not in full:
            continue
        yield _number(
            link,
            generation,
            requested=len(results.study.seeds),
            protocol_differences=(
                *differences(full[link.arm], run[link.arm], link.place),
                *arithmetic,
                *_concerning(experiment.differences, link.arm),
            ),
            unknowns=_concerning(experiment.unknowns, link.arm),
        )


def _number(
    link: Link,
    generation: GenerationResult,
    *,
    requested: int,
    protocol_differences: tuple[str, ...],
    unknowns: tuple[str, ...],
) -> PublishedNumber:
    measures = generation.ensemble() if link.ensemble else generation.test()
    values = [IN_METRIC[link.cell.metric](each) for each in measures.values()]
    measured = summary(values) if values else None
    return PublishedNumber(
        cell=link.cell,
        arm=link.arm,
        place=link.place,
        generation=generation.name,
        ensemble=link.ensemble,
        measured=measured,
        difference=None if measured is None else measured.mean - link.cell.value,
        requested=requested,
        at_chance=sum(each.at_chance for each in measures.values()),
        protocol_differences=protocol_differences,
        unknowns=unknowns,
    )


def _concerning(remarks: Iterable[Remark], arm: str) -> tuple[str, ...]:
    return tuple(remark.text for remark in remarks if remark.concerns(arm))


def _among(remarks: Iterable[Remark], arms: Sequence[str]) -> Iterator[Remark]:
    """The remarks that concern any of these arms, without the arms that are not among them."""
    for remark in remarks:
        concerned = tuple(arm for arm in arms if remark.concerns(arm))
        if concerned:
            yield replace(remark, arms=concerned if remark.arms else ())
