"""Born-again networks (arXiv 1805.04770): the wide ResNets of Tables 1 and 3."""

from __future__ import annotations

from collections.abc import Iterator

from tutelage.experiments.spec import (
    DATASET_TITLES,
    LAST_EPOCH,
    NUMBER_OF_RUNS,
    Experiment,
    Link,
    Unavailable,
    experiment_study,
    missing_requirement,
    remarks,
    scheduled_arm,
    slug,
)
from tutelage.lineage import Generation
from tutelage.published import PublishedTable, tables
from tutelage.recipes.born_again import born_again
from tutelage.recipes.common_options import CommonOptions
from tutelage.training import Milestones, Schedule

PAPER = "1805.04770"
PLACES = {"teacher": 0, "BAN": 1}
DENSENET = "DenseNet-90-60"
LANGUAGE_MODEL = "it needs a language model; tutelage classifies images"


def experiments() -> Iterator[Experiment | Unavailable]:
    """The experiments of this paper."""
    for table in tables(PAPER):
        for row in dict.fromkeys(cell.row for cell in table.cells):
            name = f"born-again/table-{table.table}/{slug(row.replace('.', '-'))}"
            reason = _unavailable_because(table, row)
            yield Unavailable(name=name, reason=reason) if reason else _experiment(name, table, row)


def _unavailable_because(table: PublishedTable, row: str) -> str:
    """Why tutelage cannot run a row; empty if it can."""
    if table.data == "ptb":
        return LANGUAGE_MODEL
    if table.table in ("4", "5"):  # every row has this teacher
        return missing_requirement(networks=(DENSENET,))
    return missing_requirement(networks=(model(row),), images=table.data)


def model(row: str) -> str:
    """The model of a row; only wide ResNets have a name that tutelage could know.

    >>> model("WRN-28-2"), model("DenseNet-90-60")
    ('wrn_28_2', 'DenseNet-90-60')
    """
    return row.lower().replace("-", "_") if row.startswith("WRN") else row


def schedule(_: Generation) -> Schedule:
    """The schedule of the wide ResNets (arXiv 1605.07146), to which the paper refers."""
    decay = Milestones(at=(60 / 200, 120 / 200, 160 / 200), factor=0.2)
    return Schedule(epochs=200, batch_size=128, lr=0.1, decay=decay, weight_decay=5e-4)


def _experiment(name: str, table: PublishedTable, row: str) -> Experiment:
    lineage = born_again(CommonOptions(model=model(row), data=table.data), generations=1)
    printed = [cell for cell in table.cells if cell.row == row and cell.column in PLACES]
    densenet = Unavailable(name=f"{DENSENET} student", reason=missing_requirement(networks=(DENSENET,)))
    return Experiment(
        name=name,
        description=f"{DATASET_TITLES[table.data]}: {row}, then an equal network taught by it",
        study=experiment_study(name, [scheduled_arm("BAN", lineage, schedule)]),
        links=tuple(Link(arm="BAN", place=PLACES[cell.column], cell=cell) for cell in printed),
        differences=remarks("no dropout; the paper uses it in wide ResNets"),
        unknowns=remarks(
            'how images are normalized ("except for mean-std normalization"); here by mean and standard deviation',
            NUMBER_OF_RUNS,
            LAST_EPOCH,
        ),
        unavailable_arms=(densenet,) if table.table == "3" else (),
    )
