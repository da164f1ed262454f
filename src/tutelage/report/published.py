"""What a paper printed beside what was measured, for a study that is an experiment of the paper or a part of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tutelage.analysis import Results
from tutelage.analysis import Row as Generation
from tutelage.analysis.results import Measures, spread
from tutelage.experiments import experiments
from tutelage.experiments.scale import differences
from tutelage.published import Cell
from tutelage.report.comparison import _escaped
from tutelage.report.remarks import seeds as told_seeds

if TYPE_CHECKING:
    from rich.table import Table

    from tutelage.experiments.spec import Experiment, Link, Remark

HEADINGS = ("arm", "model", "printed as", "published", "certainty", "measured", "difference", "seeds", "protocol")
MEASURES = {
    "top-1 accuracy %": ("top1", False),
    "top-1 error %": ("top1", True),
    "top-5 error %": ("top5", True),
}
"""For each printed metric the measure behind it, and whether it counts what went wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One printed number and what was measured for it, both in the metric of the ``cell``.

    ``measured`` and ``deviation`` (divisor n - 1) are over the ``n`` finished of ``asked`` seeds, of which
    ``at_chance`` learned nothing; ``difference`` is measured less published; None where there is nothing to know.
    ``generation`` is the model of the ``arm``, a generation or an ensemble of several. ``differs`` says what was done
    otherwise than in the paper, ``unknown`` what is not known of the paper's runs, with what was done.
    """

    cell: Cell
    arm: str
    generation: str
    measured: float | None
    deviation: float | None
    difference: float | None
    n: int
    asked: int
    differs: tuple[str, ...]
    unknown: tuple[str, ...]
    at_chance: int = 0


def beside(results: Results) -> tuple[Row, ...]:
    """Each printed number of the study's experiment with what was measured; nothing for a study that is none.

    Arms and generations that the study leaves out have no row. A difference in protocol is found by comparing the
    experiment at full length with what was run.
    """
    experiment = _experiment(results)
    if experiment is None:
        return ()
    lines = {lineage.name: lineage for lineage in results.study.lineages}
    full = {lineage.name: lineage for lineage in experiment.study.lineages}
    rows = {(row.lineage, row.place): row for row in results.rows}
    found = []
    for link in experiment.links:
        row = rows.get((link.arm, link.place))
        if row is not None and link.arm in full:
            changed = (*differences(full[link.arm], lines[link.arm], link.place), *_arithmetic(results))
            differs = (*changed, *_about(experiment.differs, link.arm))
            found.append(_row(link, row, len(results.study.seeds), differs, _about(experiment.unknown, link.arm)))
    return tuple(found)


def published_table(results: Results) -> Table | None:
    """The printed numbers beside the measured ones, for a terminal; None for a study that is no experiment."""
    from rich.table import Table
    from rich.text import Text

    if not results.experiment:
        return None
    rows = beside(results)
    drawn = Table(
        title=Text(f"Published beside measured: {_about_what(results, rows)}"),
        caption=Text("\n".join(published_notes(results))),
        title_justify="left",
        caption_justify="left",
    )
    for heading in HEADINGS:
        words = heading in ("arm", "model", "printed as", "certainty", "protocol")
        drawn.add_column(heading, justify="left" if words else "right", no_wrap=heading != "printed as")
    for cells in published_cells(results):
        drawn.add_row(*map(Text, cells))
    return drawn


def published_markdown(results: Results) -> str:
    """The same as a section of a page; empty for a study that is no experiment."""
    if not results.experiment:
        return ""
    rows = beside(results)
    lines = ["## Published beside measured", "", f"{_escaped(_about_what(results, rows))}.", ""]
    if rows:
        table = [HEADINGS, ("---",) * len(HEADINGS), *published_cells(results)]
        lines += [*(f"| {' | '.join(map(_escaped, row))} |" for row in table), ""]
    lines += [f"- {_escaped(note)}" for note in published_notes(results)]
    return "\n".join(lines) + "\n"


def published_cells(results: Results) -> list[tuple[str, ...]]:
    """The rows of the table as they are printed, a cell for each of ``HEADINGS``."""
    rows = beside(results)
    marks = _marks(rows)
    return [_cells(row, marks) for row in rows]


def published_rows(results: Results) -> list[dict[str, object]]:
    """The same as plain values, for a page or a file: numbers in the printed metric, with all their digits."""
    return [
        {
            "arm": row.arm,
            "model": row.generation,
            "paper": row.cell.paper,
            "table": row.cell.table,
            "row": row.cell.row,
            "column": row.cell.column,
            "metric": row.cell.metric,
            "published": row.cell.value,
            "published_spread": row.cell.spread,
            "certainty": row.cell.certainty,
            "source": row.cell.source,
            "remarks": list(row.cell.notes),
            "measured": row.measured,
            "deviation": row.deviation,
            "difference": row.difference,
            "seeds": row.n,
            "seeds_asked": row.asked,
            "differs": list(row.differs),
            "unknown": list(row.unknown),
        }
        for row in beside(results)
    ]


def published_notes(results: Results) -> list[str]:
    """How to read the table: where the protocol differs, what is not known, what is not there."""
    experiment = _experiment(results)
    if experiment is None:
        return [f"This version of tutelage knows no experiment {results.experiment!r}."] if results.experiment else []
    rows = beside(results)
    arms = [lineage.name for lineage in results.study.lineages]
    found = []
    if rows:
        read = dict.fromkeys(" ".join(_read_in(row.cell)) for row in rows)
        found.append(
            f"Published: read in {', '.join(read)}. Measured: last epoch, test set, mean ± standard deviation over "
            "seeds. Difference: measured less published, in points."
        )
    elif not experiment.links:
        found.append("Nothing printed stands beside these arms: the paper's numbers were not found.")
    found += [f"Protocol ({mark}): {'; '.join(differs)}." for differs, mark in _marks(rows).items()]
    found += [f"Not known{remark}." for remark in _remarks(experiment.unknown, arms)]
    found += [f"{row.arm}, {row.generation}: {note}" for row in rows for note in row.cell.notes]
    found += [f"Not here: {one.name} ({one.reason})." for one in experiment.left_out]
    return found


def _experiment(results: Results) -> Experiment | None:
    return experiments().get(results.experiment) if results.experiment else None


def _row(link: Link, row: Generation, asked: int, differs: tuple[str, ...], unknown: tuple[str, ...]) -> Row:
    measures = row.ensemble if link.ensemble else row.test
    values = _in_metric(measures, link.cell.metric)
    mean, deviation = spread(values) if values else (None, None)
    return Row(
        cell=link.cell,
        arm=link.arm,
        generation=f"ensemble of 0 to {link.place}" if link.ensemble else row.generation,
        measured=mean,
        deviation=deviation,
        difference=None if mean is None else mean - link.cell.value,
        n=len(values),
        asked=asked,
        differs=differs,
        unknown=unknown,
        at_chance=len(row.ensemble_at_chance if link.ensemble else row.at_chance),
    )


def _in_metric(measures: Iterable[Measures], metric: str) -> list[float]:
    name, wrong = MEASURES[metric]
    shares = [share for found in measures if isinstance(share := found[name], float)]
    return [100 * (1 - share) if wrong else 100 * share for share in shares]


def _arithmetic(results: Results) -> tuple[str, ...]:
    return ("bf16 arithmetic",) if results.precision == "bf16" else ()


def _about(remarks: Iterable[Remark], arm: str) -> tuple[str, ...]:
    return tuple(remark.text for remark in remarks if remark.about(arm))


def _remarks(remarks: Iterable[Remark], arms: Sequence[str]) -> list[str]:
    """Remarks with the arms they are about, of those there are."""
    found = []
    for remark in remarks:
        concerned = [arm for arm in arms if remark.about(arm)]
        if concerned:
            found.append(f" ({', '.join(concerned)}): {remark.text}" if remark.arms else f": {remark.text}")
    return found


def _marks(rows: Iterable[Row]) -> dict[tuple[str, ...], int]:
    """A number for each different set of differences in protocol."""
    return {differs: mark for mark, differs in enumerate(dict.fromkeys(r.differs for r in rows if r.differs), 1)}


def _about_what(results: Results, rows: Sequence[Row]) -> str:
    papers = dict.fromkeys(row.cell.paper for row in rows)
    named = [f"arXiv {paper}" if paper[:1].isdigit() else paper for paper in papers]
    metrics = dict.fromkeys(row.cell.metric for row in rows)
    return ", ".join([results.experiment, *named, *metrics])


def _cells(row: Row, marks: dict[tuple[str, ...], int]) -> tuple[str, ...]:
    return (
        row.arm,
        row.generation,
        f"{'Table ' if row.cell.table[:1].isdigit() else ''}{row.cell.table}: {row.cell.row}, {row.cell.column}",
        _number(row.cell.value, row.cell.spread),
        row.cell.certainty,
        "" if row.measured is None else _number(row.measured, row.deviation),
        "" if row.difference is None else f"{row.difference:+.2f}",
        told_seeds(row.n, row.asked, row.at_chance),
        f"differs ({marks[row.differs]})" if row.differs else "no difference known",
    )


def _read_in(cell: Cell) -> tuple[str, ...]:
    return (cell.certainty, f"({cell.source})") if cell.source else (cell.certainty,)


def _number(value: float, deviation: float | None) -> str:
    return f"{value:.2f}" if deviation is None else f"{value:.2f} ± {deviation:.2f}"
