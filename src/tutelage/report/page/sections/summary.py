"""The sections of a study's page: the answer first, then the numbers behind it."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.analysis import ArmResult, Comparison
from tutelage.analysis.comparison import of
from tutelage.report.comparison import HEADINGS, _cells, _difference, _interval, missing, notes, probability
from tutelage.report.page.blocks import Chart, Mark, Section, Statement, Table
from tutelage.report.page.sections.charts import differences, over_generations
from tutelage.report.page.sections.curves import curves, energy
from tutelage.report.remarks import RULE, lost, lost_arms
from tutelage.report.remarks import seeds as told_seeds
from tutelage.report.run_table import _energy, _mean, percent

_MOST_NAMED = 12
_MARKS: dict[str, Mark] = {"better": "better", "worse": "worse"}


def answer(comparison: Comparison) -> Section:
    """Which arms beat the reference, how sure that is, and what is missing."""
    study = comparison.results.study
    blocks = leads(comparison)
    if len(study.lineages) > 1:
        blocks += _details(comparison)
    failed = missing(comparison)
    blocks += [Statement(text=f"Failed: {reason}", mark="failed") for reason in failed[:_MOST_NAMED]]
    if len(failed) > _MOST_NAMED:
        blocks.append(Statement(text=f"{len(failed) - _MOST_NAMED} more failures stand below.", mark="failed"))
    if short := [one for one in comparison.standings if not one.ensemble and len(one.seeds) < len(study.seeds)]:
        told = _named([f"{standing.arm} ({_of_n(comparison, standing)})" for standing in short])
        blocks.append(Statement(text=f"Not all seeds are finished: {told}.", mark="failed"))
    if arms := lost_arms(comparison):
        blocks.append(Statement(text=f"{_named(arms, '; ')}.", mark="failed"))
    if study.watch_test:
        blocks.append(Statement(text="The test set was watched during training; nothing was chosen by it."))
    return Section(title="Answer", blocks=tuple(blocks))


def leads(comparison: Comparison) -> list[Statement]:
    """The answer in a sentence or two."""
    reference = comparison.reference
    if len(comparison.results.study.lineages) == 1:
        return _alone(comparison)
    found = []
    for ensemble, what in ((False, "single model"), (True, "ensemble")):
        tested = [one for one in comparison.standings if one.corrected is not None and one.ensemble is ensemble]
        for verdict, mark in _MARKS.items():
            if arms := [standing.arm for standing in tested if standing.verdict == verdict]:
                text = f"{verdict.capitalize()} than {reference}, as {what}{'s' if len(arms) > 1 else ''}: "
                found.append(Statement(text=f"{text}{_named(arms)}.", mark=mark, lead=True))
            elif tested and verdict == "better":
                text = f"No {what} is shown to be better than {reference}."
                found.append(Statement(text=text, mark="open", lead=True))
    if not found:
        text = f"Nothing is shown yet: no arm could be tested against {reference}."
        if len(comparison.results.study.seeds) == 1:
            text = f"Nothing is shown: one seed has no interval, and is no test of an arm against {reference}."
        found.append(Statement(text=text, mark="open", lead=True))
    return found


def standings(comparison: Comparison) -> Section:
    """The comparison as a table, where there are several arms."""
    if len(comparison.results.study.lineages) == 1:
        return Section(title="Comparison")
    kinds = ["ensemble" if standing.ensemble else "single" for standing in comparison.standings]
    rows = [_cells(comparison, standing) for standing in comparison.standings]
    table = Table(
        name="comparison",
        title=f"Arms compared to {comparison.reference}",
        columns=(*HEADINGS[:2], "kind", *HEADINGS[2:]),
        rows=tuple((*row[:2], kind, *row[2:]) for row, kind in zip(rows, kinds, strict=True)),
        words=tuple(notes(comparison)),
    )
    return Section(title="Comparison", blocks=(table,))


def figures(comparison: Comparison) -> Section:
    """The plots of a study but its training curves."""
    made: list[Chart | None] = [
        differences(comparison),
        over_generations(comparison, "top1", "Accuracy over generations", "test top-1", ".2%"),
        over_generations(comparison, "nll", "NLL over generations", "test NLL, nats", ".3f"),
        over_generations(comparison, "ece", "Calibration error over generations", "test ECE, 15 bins", ".3f"),
        energy(comparison),
    ]
    return Section(title="Figures", blocks=tuple(chart for chart in made if chart is not None))


def training(comparison: Comparison, points: int) -> Section:
    """The training curves, with about so many points in each."""
    return Section(title="Training", blocks=tuple(curves(comparison, points)))


def generations(comparison: Comparison) -> Section:
    """Every generation of every arm with all its measures, as ``tutelage show`` prints them."""
    seeds = len(comparison.results.study.seeds)
    columns = (
        *("arm", "generation", "network", "seeds", "holdout top-1", "test top-1", "top-5", "NLL", "ECE"),
        *("expected", "energy", "ensemble top-1"),
    )
    rows = []
    for row in comparison.results.rows:
        expected = "" if row.expected is None else f"{row.expected:.3f}"
        told = (row.lineage, row.generation, row.model)
        done = told_seeds(len(row.test), seeds, len(row.at_chance))
        accuracy = (percent(of(row.holdout, "top1")), percent(of(row.test, "top1")), percent(of(row.test, "top5")))
        other = (_mean(row.test, "nll"), _mean(row.test, "ece"), expected, _energy(row))
        rows.append((*told, done, *accuracy, *other, percent(of(row.ensemble, "top1"))))
    kept = [place for place in range(len(columns)) if any(row[place] for row in rows)]
    table = Table(
        name="generations",
        title="All generations",
        columns=tuple(columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in rows),
        words=(
            "Last epoch, mean ± standard deviation over the seeds, accuracies in percent.",
            "Energy: mean of the best three scores on training images; expected: the label's score in closed form.",
            "Ensemble: mean of the probabilities of generations 0 to this one.",
            *([RULE] if lost(comparison.results) else []),
        ),
    )
    return Section(title="Generations", blocks=(table,))


def _alone(comparison: Comparison) -> list[Statement]:
    told = [standing for standing in comparison.standings if standing.top1 is not None]
    if not told:
        return [Statement(text="Not finished: there is nothing to show yet.", mark="failed", lead=True)]
    found = []
    for standing in told:
        cells = dict(zip(HEADINGS, _cells(comparison, standing), strict=True))
        interval = f", {100 * comparison.confidence:g} % interval {cells['interval']}" if cells["interval"] else ""
        what = f"{standing.arm}, {standing.generation}: {cells['test top-1']} % on the test set{interval}"
        seeds = "one seed: no interval" if len(standing.seeds) == 1 else _of_n(comparison, standing)
        found.append(Statement(text=f"{what} ({seeds}).", lead=True))
    only = "One arm, so nothing to compare it to: tutelage study trains several for the same seeds."
    return [*found, Statement(text=only)]


def _details(comparison: Comparison) -> list[Statement]:
    """Each arm that differs, those that are not shown to, and those that could not be tested."""
    arms = sorted(comparison.standings, key=lambda standing: standing.ensemble)  # single models first
    found = [
        Statement(text=_sentence(comparison, one), mark=_MARKS[one.verdict]) for one in arms if one.verdict in _MARKS
    ]
    if alike := [_briefly(one) for one in arms if one.corrected is not None and one.verdict not in _MARKS]:
        text = f"No difference shown, which is not the same as none: {_named(alike, '; ')}."
        found.append(Statement(text=text, mark="open"))
    others = [one for one in arms if one.corrected is None and one.verdict not in ("reference", "not finished")]
    if others:
        told = _named([f"{_what(one)} ({one.verdict})" for one in others], "; ")
        found.append(Statement(text=f"Not tested: {told}.", mark="open"))
    return found


def _named(names: Sequence[str], between: str = ", ") -> str:
    """Names one after the other; of very many the first, and how many more there are.

    >>> _named(["a", "b"]), _named([str(n) for n in range(14)])
    ('a, b', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more')
    """
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{between.join(names[:_MOST_NAMED])}{more}"


def _what(standing: ArmResult) -> str:
    return f"{standing.arm}, {standing.generation}" if standing.ensemble else standing.arm


def _sentence(comparison: Comparison, standing: ArmResult) -> str:
    found = standing.difference
    assert found is not None
    assert standing.corrected is not None
    p = probability(standing.corrected)
    sign = p if p.startswith("<") else f"= {p}"
    interval = "no interval, since all seeds differ alike"
    if between := _interval(found, "+.2f"):
        interval = f"{100 * comparison.confidence:g} % interval {between}"
    line = f"{standing.arm}, {standing.generation}: {100 * found.mean:+.2f} points ({interval}), "
    line += f"p {sign} after Holm's correction"
    cost = f"; it costs {len(standing.models[0])} times as much to use" if standing.ensemble else ""
    return f"{line}, {_of_n(comparison, standing)}{cost}."


def _briefly(standing: ArmResult) -> str:
    assert standing.corrected is not None
    return f"{_what(standing)} {_difference(standing)}, p = {probability(standing.corrected)}"


def _of_n(comparison: Comparison, standing: ArmResult) -> str:
    return f"{len(standing.seeds)} of {len(comparison.results.study.seeds)} seeds"
