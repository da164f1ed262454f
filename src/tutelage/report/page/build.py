"""The page of one or several studies: one HTML file that holds everything it needs and loads nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tutelage.analysis import Comparison
from tutelage.report import comparison as comparisons
from tutelage.report.format import Cell, text
from tutelage.report.page.blocks import Section, StudyPart
from tutelage.report.page.render import html
from tutelage.report.page.sections.diagnostics import diagnostics
from tutelage.report.page.sections.published import published
from tutelage.report.page.sections.reproducibility import reproducibility
from tutelage.report.page.sections.summary import answer, arms, figures, generations, leads, training
from tutelage.report.page.sections.transfer import transfer
from tutelage.report.page.style import arm_styles
from tutelage.report.remarks import data_names
from tutelage.report.table import Column, Table

SectionOf = Callable[[Comparison], Section]

CURVE_POINTS = 4000
"""About how many points the curves of each metric have on a page, so that a page of many runs stays small."""


def sections_of(studies: int = 1, with_diagnostics: bool = False) -> tuple[SectionOf, ...]:
    """The sections of each study on a page of so many studies, from top to bottom.

    A new section is one more function here: it turns a comparison into statements, tables, charts and listings. A
    section without any is left out. The diagnostics read every model's predictions: they are there on request.
    """
    curves = partial(training, points=CURVE_POINTS // studies)
    more = (transfer, diagnostics) if with_diagnostics else (transfer,)
    return (answer, arms, published, figures, curves, generations, *more, reproducibility)


def page(studies: Mapping[str, Comparison], sections: Sequence[SectionOf] | None = None) -> str:
    """One HTML page of studies, by the names of their runs; by default with all sections but the diagnostics.

    Scripts and styles are allowed by their hash alone, and nothing may be loaded from anywhere: whatever a name or a
    command contains stays text. Characters that cannot be printed appear as escapes.

    Errors: ``ValueError`` that names the extra where a package is missing.
    """
    assert studies
    sections = sections_of(len(studies)) if sections is None else sections
    parts = [_part(name, comparison, sections) for name, comparison in studies.items()]
    return html(parts, _overview(studies) if len(parts) > 1 else None)


def _part(name: str, comparison: Comparison, sections: Sequence[SectionOf]) -> StudyPart:
    study = comparison.results.study
    title = comparisons.title(comparison)
    if len(study.lineages) == 1:
        seeds = f"{len(study.seeds)} seeds" if len(study.seeds) > 1 else "one seed"
        title = f"{study.lineages[0].name} on {next(iter(data_names(comparison.results).values()))}, {seeds}"
    return StudyPart(
        name=name,
        title=study.title or title,
        subtitle=f"{title}; run {name}" if study.title else f"run {name}",
        answer=tuple(leads(comparison)),
        arms=tuple(arm_styles(comparison).values()),
        ensembles=any(arm.ensemble for arm in comparison.arms),
        sections=tuple(each for each in (section(comparison) for section in sections) if each.blocks),
    )


def _overview(studies: Mapping[str, Comparison]) -> Table:
    """The last generations of all studies in one table."""
    rows: list[tuple[Cell, ...]] = []
    for name, comparison in studies.items():
        names = data_names(comparison.results)
        data = {lineage.name: names[lineage.data.name] for lineage in comparison.results.study.lineages}
        rows += [(text(name), text(data[arm.arm]), *comparisons.cells(comparison, arm)) for arm in comparison.arms]
    note = "Differences and p-values are within a run, to its own reference; runs are not compared to each other."
    return Table(
        name="overview",
        title="The last generations of all runs",
        columns=(Column("run", "code"), Column("data"), *comparisons.COLUMNS),
        rows=tuple(rows),
        notes=(note,),
    )
