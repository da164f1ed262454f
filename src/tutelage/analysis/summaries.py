"""One measure on the test set, summarised over the seeds: of single models and of ensembles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from tutelage.analysis.results import Results
from tutelage.analysis.statistics import Summary, summary
from tutelage.evaluation import Measures

MeasureName = Literal["top1", "nll", "ece"]

_LIMITS: dict[MeasureName, tuple[float, float]] = {"top1": (0.0, 1.0), "nll": (0.0, math.inf), "ece": (0.0, 1.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSummary:
    """One measure of one generation over its finished seeds; with ``ensemble``, of generations 0 to this one."""

    arm: str
    place: int
    generation: str
    ensemble: bool
    summary: Summary


def measure_summary(measures: Iterable[Measures], name: MeasureName, confidence: float = 0.95) -> Summary | None:
    """Summarise one measure over the seeds; None where there is none.

    The interval is cut off at what the measure can be: a t interval reaches beyond it where the spread is large.

    Errors: ``ValueError`` for a confidence outside (0, 1).
    """
    values = [float(getattr(each, name)) for each in measures]
    if not values:
        return None
    result = summary(values, confidence)
    if result.low is None or result.high is None:
        return result
    lowest, highest = _LIMITS[name]
    return replace(result, low=max(lowest, result.low), high=min(highest, result.high))


def generation_summaries(
    results: Results, name: MeasureName, confidence: float = 0.95
) -> tuple[GenerationSummary, ...]:
    """Summarise one measure of every generation, arm by arm: its single models first, then its ensembles.

    A generation without a finished seed has no summary. Ensembles are those of arms with a single network: others
    mix networks that cost differently.
    """
    summaries: list[GenerationSummary] = []
    for generations in results.arms().values():
        one_network = len({generation.network for generation in generations}) == 1
        for ensemble in (False, True) if one_network else (False,):
            for generation in generations:
                measures: Mapping[int, Measures] = generation.ensemble() if ensemble else generation.test()
                over_seeds = measure_summary(measures.values(), name, confidence)
                if over_seeds is not None:
                    summaries.append(
                        GenerationSummary(
                            arm=generation.arm,
                            place=generation.place,
                            generation=generation.name,
                            ensemble=ensemble,
                            summary=over_seeds,
                        )
                    )
    return tuple(summaries)
