"""The table of a study, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutelage.analysis.results import Measures, Results, Row, spread
from tutelage.report.remarks import RULE, lost
from tutelage.report.remarks import seeds as told_seeds

if TYPE_CHECKING:
    from rich.table import Table


READING = (
    "energy: mean of the best three scores on the training images; expected: the labelled class's score "
    "in closed form; ensemble: mean of the probabilities of generations 0 to this one"
)


def percent(values: list[float]) -> str:
    """Shares as percent, mean ± standard deviation; no spread for a single value.

    >>> percent([0.97, 0.98]), percent([0.97]), percent([])
    ('97.50 ± 0.71', '97.00', '')
    """
    if not values:
        return ""
    mean, deviation = spread([100 * value for value in values])
    return f"{mean:.2f}" if deviation is None else f"{mean:.2f} ± {deviation:.2f}"


def _of(measures: list[Measures], name: str) -> list[float]:
    return [value for found in measures if isinstance(value := found[name], float)]


def _mean(measures: list[Measures], name: str) -> str:
    values = _of(measures, name)
    return f"{spread(values)[0]:.3f}" if values else ""


def _energy(row: Row, count: int = 3) -> str:
    found = [energy[:count] for measured in row.train if isinstance(energy := measured["energy"], list)]
    if not found:
        return ""
    return " ".join(f"{sum(scores) / len(scores):.3f}" for scores in zip(*found, strict=True))


def run_table(results: Results) -> Table:
    """One line a generation: accuracy with its spread over the seeds, energy, calibration, the ensemble up to it."""
    from rich.table import Table
    from rich.text import Text

    seeds = len(results.study.seeds)
    data = results.study.lineages[0].data.name + (" (test set watched)" if results.study.watch_test else "")
    told = "".join(f"\n{line}" for line in (*lost(results), RULE)) if lost(results) else ""
    drawn = Table(
        title=f"{results.name}: {data}, last epoch, mean ± standard deviation over {seeds} seeds"
        if seeds > 1
        else f"{results.name}: {data}, last epoch, one seed (no spread)",
        caption=Text(f"{READING}{told}"),
        title_justify="left",
        caption_justify="left",
    )
    holdout = any(row.holdout for row in results.rows)
    ensembles = any(row.ensemble for row in results.rows)
    for name in ("generation", "model"):
        drawn.add_column(name, no_wrap=True)
    headings = ["seeds", *(["holdout top-1"] if holdout else []), "test top-1", "top-5", "NLL", "ECE", "expected"]
    for name in [*headings, "energy", *(["ensemble top-1"] if ensembles else [])]:
        drawn.add_column(name, justify="right", no_wrap=True)
    several = len(results.study.lineages) > 1
    for row in results.rows:
        cells = [
            f"{row.lineage}: {row.generation}" if several else row.generation,
            row.model,
            told_seeds(len(row.test), seeds, len(row.at_chance)),
            *([percent(_of(row.holdout, "top1"))] if holdout else []),
            percent(_of(row.test, "top1")),
            percent(_of(row.test, "top5")),
            _mean(row.test, "nll"),
            _mean(row.test, "ece"),
            "" if row.expected is None else f"{row.expected:.3f}",
            _energy(row),
            *([percent(_of(row.ensemble, "top1"))] if ensembles else []),
        ]
        drawn.add_row(*cells)
    return drawn
