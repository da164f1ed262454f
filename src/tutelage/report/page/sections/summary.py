"""The sections that every study has: the answer first, then the numbers behind it."""

from __future__ import annotations

from tutelage.analysis import ArmResult, Comparison
from tutelage.report import comparison as comparisons
from tutelage.report.format import interval, join_names, p_value, percent, text
from tutelage.report.generations import COLUMNS, measures
from tutelage.report.page.blocks import Chart, Mark, Section, Statement
from tutelage.report.page.sections.charts import differences, over_generations
from tutelage.report.page.sections.curves import curves, energy
from tutelage.report.remarks import AT_CHANCE, at_chance, at_chance_arms
from tutelage.report.table import Column, Table, make_table

_MOST_FAILURES = 12
_MARKS: dict[str, Mark] = {"better": "better", "worse": "worse"}


def answer(comparison: Comparison) -> Section:
    """Which arms beat the reference, how certain that is, and what is missing."""
    study = comparison.results.study
    blocks = leads(comparison)
    if len(study.lineages) > 1:
        blocks += _details(comparison)
    failures = comparisons.failures(comparison)
    blocks += [Statement(text=f"Failed: {failure}", mark="failed") for failure in failures[:_MOST_FAILURES]]
    if len(failures) > _MOST_FAILURES:
        more = f"{len(failures) - _MOST_FAILURES} more failures are listed below."
        blocks.append(Statement(text=more, mark="failed"))
    partial = [arm for arm in comparison.arms if not arm.ensemble and len(arm.measures) < len(study.seeds)]
    if partial:
        names = join_names([f"{arm.arm} ({_seeds(comparison, arm)})" for arm in partial])
        blocks.append(Statement(text=f"Not all seeds are finished: {names}.", mark="failed"))
    if remarks := at_chance_arms(comparison):
        blocks.append(Statement(text=f"{join_names(remarks, '; ')}.", mark="failed"))
    if comparison.results.watch_test:
        blocks.append(Statement(text="The test set was watched during training; nothing was chosen by it."))
    return Section(title="Answer", blocks=tuple(blocks))


def leads(comparison: Comparison) -> list[Statement]:
    """The answer in a sentence or two."""
    reference = comparison.reference
    if len(comparison.results.study.lineages) == 1:
        return _single_arm(comparison)
    statements: list[Statement] = []
    for ensemble, noun in ((False, "single model"), (True, "ensemble")):
        tested = [arm for arm in comparison.arms if arm.corrected is not None and arm.ensemble is ensemble]
        for verdict, mark in _MARKS.items():
            if names := [arm.arm for arm in tested if arm.verdict == verdict]:
                plural = "s" if len(names) > 1 else ""
                sentence = f"{verdict.capitalize()} than {reference}, as {noun}{plural}: {join_names(names)}."
                statements.append(Statement(text=sentence, mark=mark, lead=True))
            elif tested and verdict == "better":
                sentence = f"No {noun} is shown to be better than {reference}."
                statements.append(Statement(text=sentence, mark="open", lead=True))
    if not statements:
        sentence = f"Nothing is shown yet: no arm could be tested against {reference}."
        if len(comparison.results.study.seeds) == 1:
            sentence = f"Nothing is shown: one seed has no interval, and is no test of an arm against {reference}."
        statements.append(Statement(text=sentence, mark="open", lead=True))
    return statements


def arms(comparison: Comparison) -> Section:
    """The comparison as a table, where there are several arms."""
    if len(comparison.results.study.lineages) == 1:
        return Section(title="Comparison")
    rows = []
    for arm in comparison.arms:
        name, model, *cells = comparisons.cells(comparison, arm)
        rows.append((name, model, text("ensemble" if arm.ensemble else "single"), *cells))
    table = Table(
        name="comparison",
        title=f"Arms compared to {comparison.reference}",
        columns=(*comparisons.COLUMNS[:2], Column("kind"), *comparisons.COLUMNS[2:]),
        rows=tuple(rows),
        notes=tuple(comparisons.notes(comparison)),
    )
    return Section(title="Comparison", blocks=(table,))


def figures(comparison: Comparison) -> Section:
    """All plots of a study but its training curves."""
    charts: list[Chart | None] = [
        differences(comparison),
        over_generations(comparison, "top1", "Accuracy over generations", "test top-1", ".2%"),
        over_generations(comparison, "nll", "NLL over generations", "test NLL, nats", ".3f"),
        over_generations(comparison, "ece", "Calibration error over generations", "test ECE, 15 bins", ".3f"),
        energy(comparison),
    ]
    return Section(title="Figures", blocks=tuple(chart for chart in charts if chart is not None))


def training(comparison: Comparison, points: int) -> Section:
    """The training curves, with about so many points in each chart."""
    return Section(title="Training", blocks=tuple(curves(comparison, points)))


def generations(comparison: Comparison) -> Section:
    """Every generation of every arm with all its measures, as ``tutelage show`` prints them."""
    results = comparison.results
    table = make_table(
        "generations",
        "All generations",
        (Column("arm"), Column("generation"), Column("network"), *COLUMNS[2:]),
        [(text(each.arm), text(each.name), text(each.network), *measures(each)) for each in results.generations],
        (
            "Last epoch, mean ± standard deviation over the seeds, accuracies in percent.",
            "Energy: mean of the best three scores on the training images.",
            "Expected: the labelled class's score in closed form.",
            "Ensemble: mean of the probabilities of generations 0 to this one.",
            *([AT_CHANCE] if at_chance(results) else []),
        ),
    )
    return Section(title="Generations", blocks=(table,))


def _single_arm(comparison: Comparison) -> list[Statement]:
    statements: list[Statement] = []
    for arm in comparison.arms:
        if arm.top1 is None:
            continue
        accuracy = percent([each.top1 for each in arm.measures.values()]).text
        bounds = interval(arm.top1.low, arm.top1.high)
        certainty = f", {100 * comparison.confidence:g} % interval {bounds}" if bounds else ""
        seeds = "one seed: no interval" if len(arm.measures) == 1 else _seeds(comparison, arm)
        sentence = f"{arm.arm}, {comparisons.label(arm)}: {accuracy} % on the test set{certainty} ({seeds})."
        statements.append(Statement(text=sentence, lead=True))
    if not statements:
        return [Statement(text="Not finished: there is nothing to show yet.", mark="failed", lead=True)]
    hint = "One arm, so nothing to compare it to: tutelage study trains several for the same seeds."
    return [*statements, Statement(text=hint)]


def _details(comparison: Comparison) -> list[Statement]:
    """Each arm that differs, then those that are not shown to, then those that could not be tested."""
    single_first = sorted(comparison.arms, key=lambda arm: arm.ensemble)
    statements = [
        Statement(text=_sentence(comparison, arm), mark=_MARKS[arm.verdict])
        for arm in single_first
        if arm.verdict in _MARKS
    ]
    undecided = [arm for arm in single_first if arm.corrected is not None and arm.verdict not in _MARKS]
    if undecided:
        names = join_names([_brief(arm) for arm in undecided], "; ")
        sentence = f"No difference shown, which is not the same as none: {names}."
        statements.append(Statement(text=sentence, mark="open"))
    untested = [
        arm for arm in single_first if arm.corrected is None and arm.verdict not in ("reference", "unfinished")
    ]
    if untested:
        names = join_names([f"{_name(arm)} ({comparisons.verdict(comparison, arm)})" for arm in untested], "; ")
        statements.append(Statement(text=f"Not tested: {names}.", mark="open"))
    return statements


def _sentence(comparison: Comparison, arm: ArmResult) -> str:
    assert arm.difference is not None
    p = p_value(arm.corrected).text
    bounds = interval(arm.difference.low, arm.difference.high, sign=True)
    certainty = f"{100 * comparison.confidence:g} % interval {bounds}"
    if not bounds:
        certainty = "no interval, since the difference is the same at every seed"
    cost = f"; it costs {arm.place + 1} times as much to use" if arm.ensemble else ""
    return (
        f"{arm.arm}, {comparisons.label(arm)}: {100 * arm.difference.mean:+.2f} points ({certainty}), "
        f"p {p if p.startswith('<') else f'= {p}'} after Holm's correction, {_seeds(comparison, arm)}{cost}."
    )


def _brief(arm: ArmResult) -> str:
    return f"{_name(arm)} {comparisons.difference(arm).text}, p = {p_value(arm.corrected).text}"


def _name(arm: ArmResult) -> str:
    return f"{arm.arm}, {comparisons.label(arm)}" if arm.ensemble else arm.arm


def _seeds(comparison: Comparison, arm: ArmResult) -> str:
    return f"{len(arm.measures)} of {len(comparison.results.study.seeds)} seeds"
