"""The page: one or several studies as one HTML file that holds all it needs and asks nobody for anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tutelage.analysis import Comparison
from tutelage.report.comparison import HEADINGS, _cells, _title
from tutelage.report.page.blocks import Part, Section, Table
from tutelage.report.page.render import html
from tutelage.report.page.sections.closer_look import closer, features, published
from tutelage.report.page.sections.provenance import origin
from tutelage.report.page.sections.summary import answer, figures, generations, leads, standings, training
from tutelage.report.page.style import styles

SectionOf = Callable[[Comparison], Section]

CURVE_POINTS = 4000
"""How many points the training curves of a page have of each kind, so that a page of many runs stays small."""


def sections_of(studies: int = 1, look_closer: bool = False) -> tuple[SectionOf, ...]:
    """What a page of so many studies says of each, from top to bottom.

    A new section is one more function here: it turns a comparison into statements, tables and charts. One that has
    none of these to show is left out. The closer look reads every model's predictions: it is there on request.
    """
    curves = partial(training, points=CURVE_POINTS // studies)
    more = (features, closer) if look_closer else (features,)
    return (answer, standings, published, figures, curves, generations, *more, origin)


def page(studies: Mapping[str, Comparison], sections: Sequence[SectionOf] | None = None) -> str:
    """One HTML page of studies, by the names of their runs; by default with all sections.

    Scripts and styles are allowed by their hash alone, and nothing may be loaded from anywhere: whatever a name or a
    command holds stays text. Text that cannot be printed is shown as escapes.

    Errors: ``ValueError`` that names the extra where a package is missing.
    """
    assert studies
    sections = sections_of(len(studies)) if sections is None else sections
    parts = [_part(name, comparison, sections) for name, comparison in studies.items()]
    return html(parts, _overview(studies) if len(parts) > 1 else None)


def _part(name: str, comparison: Comparison, sections: Sequence[SectionOf]) -> Part:
    made = [section(comparison) for section in sections]
    study = comparison.results.study
    what = _title(comparison)
    if len(study.lineages) == 1:
        seeds = f"{len(study.seeds)} seeds" if len(study.seeds) > 1 else "one seed"
        what = f"{study.lineages[0].name} on {study.lineages[0].data.name}, {seeds}"
    return Part(
        name=name,
        title=study.title or what,
        under=f"{what}; run {name}" if study.title else f"run {name}",
        leads=tuple(leads(comparison)),
        arms=tuple(styles(comparison).values()),
        kinds=any(standing.ensemble for standing in comparison.standings),
        sections=tuple(section for section in made if section.blocks),
    )


def _overview(studies: Mapping[str, Comparison]) -> Table:
    """The last generations of all studies in one table."""
    rows: list[tuple[str, ...]] = []
    for name, comparison in studies.items():
        data = {lineage.name: lineage.data.name for lineage in comparison.results.study.lineages}
        rows += [(name, data[found.arm], *_cells(comparison, found)) for found in comparison.standings]
    return Table(
        name="overview",
        title="The last generations of all runs",
        columns=("run", "data", *HEADINGS),
        rows=tuple(rows),
        words=(
            "Differences and p-values are within a run, to its own reference; runs are not compared to each other.",
        ),
        code=("run",),
    )
