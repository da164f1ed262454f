"""The table of a study: one row per generation."""

from __future__ import annotations

from tutelage.analysis import GenerationResult, Results
from tutelage.report.format import EMPTY, Cell, mean, percent, seeds, text
from tutelage.report.remarks import AT_CHANCE, at_chance, data_names
from tutelage.report.table import Column, Table, make_table

READING = (
    "energy: mean of the best three scores on the training images; expected: the labelled class's score "
    "in closed form; ensemble: mean of the probabilities of generations 0 to this one"
)
COLUMNS = (
    Column("generation"),
    Column("model"),
    Column("seeds", "number"),
    Column("holdout top-1", "number"),
    Column("test top-1", "number"),
    Column("top-5", "number"),
    Column("NLL", "number"),
    Column("ECE", "number"),
    Column("expected", "number"),
    Column("energy", "number"),
    Column("ensemble top-1", "number"),
)


def generations_table(results: Results) -> Table:
    """One row per generation: accuracy with its spread over the seeds, energy, calibration, the ensemble up to it."""
    count = len(results.study.seeds)
    data = next(iter(data_names(results).values())) + (" (test set watched)" if results.watch_test else "")
    over = f"mean ± standard deviation over {count} seeds" if count > 1 else "one seed (no spread)"
    remarks = at_chance(results)
    several = len(results.study.lineages) > 1
    rows = []
    for generation in results.generations:
        name = f"{generation.arm}: {generation.name}" if several else generation.name
        rows.append((text(name), text(generation.network), *measures(generation)))
    return make_table(
        "generations",
        f"{results.name}: {data}, last epoch, {over}",
        COLUMNS,
        rows,
        (READING, *remarks, *([AT_CHANCE] if remarks else [])),
    )


def measures(generation: GenerationResult) -> tuple[Cell, ...]:
    """The cells of a generation from ``seeds`` on."""
    test = list(generation.test().values())
    expected = generation.expected
    return (
        seeds(len(generation.seeds), len(generation.models), sum(each.at_chance for each in test)),
        percent([each.top1 for each in generation.holdout().values()]),
        percent([each.top1 for each in test]),
        percent([each.top5 for each in test]),
        mean([each.nll for each in test]),
        mean([each.ece for each in test]),
        EMPTY if expected is None else Cell(f"{expected:.3f}", expected),
        energy([each.energy for each in generation.train().values()]),
        percent([each.top1 for each in generation.ensemble().values()]),
    )


def energy(distributions: list[tuple[float, ...]], count: int = 3) -> Cell:
    """The mean of the best scores."""
    if not distributions:
        return EMPTY
    means = [sum(scores) / len(scores) for scores in zip(*(each[:count] for each in distributions), strict=True)]
    return Cell(" ".join(f"{score:.3f}" for score in means), means[0])
