"""Tables of published numbers beside measured ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tutelage.analysis.published import PublishedComparison, PublishedNumber
from tutelage.report import markdown
from tutelage.report.format import EMPTY, Cell, escape_markdown, plus_minus, seeds, text
from tutelage.report.table import Column, Record, Table

TITLE = "Published beside measured"
COLUMNS = (
    Column("arm"),
    Column("model"),
    Column("printed as"),
    Column("published", "number"),
    Column("certainty"),
    Column("measured", "number"),
    Column("difference", "number"),
    Column("seeds", "number"),
    Column("protocol"),
)


def published_table(comparison: PublishedComparison | None) -> Table | None:
    """One row per printed number; None for a study that is no experiment."""
    if comparison is None:
        return None
    marks = _protocol_marks(comparison.numbers)
    return Table(
        name="published",
        title=f"{TITLE}: {_subject(comparison)}",
        columns=COLUMNS,
        rows=tuple(_cells(number, marks) for number in comparison.numbers),
        notes=tuple(_notes(comparison, marks)),
        records=tuple(_record(number) for number in comparison.numbers),
    )


def published_markdown(comparison: PublishedComparison | None) -> str:
    """The table as a section of a page; empty for a study that is no experiment."""
    table = published_table(comparison)
    if comparison is None or table is None:
        return ""
    lines = [f"## {TITLE}", "", f"{escape_markdown(_subject(comparison))}.", ""]
    if table.rows:
        lines += [*markdown.rows(table), ""]
    lines += [f"- {escape_markdown(note)}" for note in table.notes]
    return "\n".join(lines) + "\n"


def _subject(comparison: PublishedComparison) -> str:
    """The experiment, its papers and its metrics."""
    papers = dict.fromkeys(number.cell.paper for number in comparison.numbers)
    names = [f"arXiv {paper}" if paper[:1].isdigit() else paper for paper in papers]
    metrics = dict.fromkeys(number.cell.metric for number in comparison.numbers)
    return ", ".join([comparison.experiment, *names, *metrics])


def _protocol_marks(numbers: Iterable[PublishedNumber]) -> Mapping[tuple[str, ...], int]:
    """A number for each distinct list of differences in protocol."""
    distinct = dict.fromkeys(number.protocol_differences for number in numbers if number.protocol_differences)
    return {differs: mark for mark, differs in enumerate(distinct, 1)}


def _cells(number: PublishedNumber, marks: Mapping[tuple[str, ...], int]) -> tuple[Cell, ...]:
    cell, measured, difference = number.cell, number.measured, number.difference
    table = f"Table {cell.table}" if cell.table[:1].isdigit() else cell.table
    return (
        text(number.arm),
        text(_label(number)),
        text(f"{table}: {cell.row}, {cell.column}"),
        Cell(plus_minus(cell.value, cell.spread), cell.value),
        text(cell.certainty),
        EMPTY if measured is None else Cell(plus_minus(measured.mean, measured.deviation), measured.mean),
        EMPTY if difference is None else Cell(plus_minus(difference, None, sign=True), difference),
        seeds(number.n, number.requested, number.at_chance),
        text(
            f"differs ({marks[number.protocol_differences]})"
            if number.protocol_differences
            else "no difference known"
        ),
    )


def _label(number: PublishedNumber) -> str:
    return f"ensemble of 0 to {number.place}" if number.ensemble else number.generation


def _notes(comparison: PublishedComparison, marks: Mapping[tuple[str, ...], int]) -> list[str]:
    """How to read the table: differences in protocol, what is not known, what is missing."""
    if not comparison.in_catalog:
        return [f"This version of tutelage does not have the experiment {comparison.experiment!r}."]
    notes = []
    if comparison.numbers:
        origins = dict.fromkeys(_origin(number) for number in comparison.numbers)
        notes.append(
            f"Published: read in {', '.join(origins)}. Measured: last epoch, test set, mean ± standard deviation "
            "over seeds. Difference: measured less published, in points."
        )
    elif not comparison.has_numbers:
        notes.append("There is nothing to compare these arms with: the paper's numbers were not found.")
    notes += [f"Protocol ({mark}): {'; '.join(differs)}." for differs, mark in marks.items()]
    for remark in comparison.unknowns:
        arms = f" ({', '.join(remark.arms)})" if remark.arms else ""
        notes.append(f"Not known{arms}: {remark.text}.")
    for number in comparison.numbers:
        notes += [f"{number.arm}, {_label(number)}: {note}" for note in number.cell.notes]
    notes += [f"Not available: {arm} ({reason})." for arm, reason in comparison.unavailable_arms.items()]
    return notes


def _origin(number: PublishedNumber) -> str:
    """Where a number was read."""
    cell = number.cell
    return f"{cell.certainty} ({cell.source})" if cell.source else cell.certainty


def _record(number: PublishedNumber) -> Record:
    """The record of a CSV line: numbers in the printed metric with all their digits."""
    cell, measured = number.cell, number.measured
    return {
        "arm": number.arm,
        "model": _label(number),
        "paper": cell.paper,
        "table": cell.table,
        "row": cell.row,
        "column": cell.column,
        "metric": cell.metric,
        "published": cell.value,
        "published_spread": cell.spread,
        "certainty": cell.certainty,
        "source": cell.source,
        "remarks": "; ".join(cell.notes),
        "measured": None if measured is None else measured.mean,
        "deviation": None if measured is None else measured.deviation,
        "difference": number.difference,
        "seeds": number.n,
        "seeds_requested": number.requested,
        "differs": "; ".join(number.protocol_differences),
        "unknown": "; ".join(number.unknowns),
    }
