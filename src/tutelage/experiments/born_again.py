"""Born-again networks (arXiv 1805.04770): the wide ResNets of Tables 1 and 3."""

from __future__ import annotations

from collections.abc import Iterator

from tutelage.experiments.spec import (
    LAST_EPOCH,
    ONE_RUN,
    SETS,
    Experiment,
    LeftOut,
    Link,
    arm,
    lacking,
    remarks,
    slug,
    study,
)
from tutelage.lineage import Generation
from tutelage.published import Table, tables
from tutelage.recipes.born_again import born_again
from tutelage.recipes.common_options import CommonOptions
from tutelage.training import Milestones, Schedule

PAPER = "1805.04770"
LANGUAGE = "it needs a language model; tutelage classifies images"
PLACES = {"teacher": 0, "BAN": 1}


def made() -> Iterator[Experiment | LeftOut]:
    """The experiments of this paper."""
    for table in tables(PAPER):
        for row in dict.fromkeys(cell.row for cell in table.cells):
            if table.table in ("4", "5"):  # every row has a DenseNet-90-60 for a teacher
                reason = lacking(networks=("DenseNet-90-60",))
            else:
                reason = LANGUAGE if table.data == "ptb" else lacking(networks=(network(row),), images=table.data)
            name = f"born-again/table-{table.table}/{slug(row.replace('.', '-'))}"
            yield LeftOut(name=name, reason=reason) if reason else _experiment(name, table, row)


def network(row: str) -> str:
    """The network of a row; only wide ResNets have a name that tutelage could know.

    >>> network("WRN-28-2"), network("DenseNet-90-60")
    ('wrn_28_2', 'DenseNet-90-60')
    """
    return row.lower().replace("-", "_") if row.startswith("WRN") else row


def schedule(_: Generation) -> Schedule:
    """The schedule of the wide ResNets (arXiv 1605.07146), to which the paper refers."""
    steps = Milestones(at=(60 / 200, 120 / 200, 160 / 200), factor=0.2)
    return Schedule(epochs=200, batch_size=128, lr=0.1, decay=steps, weight_decay=5e-4)


def _experiment(name: str, table: Table, row: str) -> Experiment:
    line = arm("BAN", born_again(CommonOptions(model=network(row), data=table.data), generations=1), schedule)
    missing = "DenseNet-90-60 student"
    printed = [cell for cell in table.cells if cell.row == row and cell.column in PLACES]
    return Experiment(
        name=name,
        about=f"{SETS[table.data]}: {row}, then its twin taught by it",
        study=study(name, [line]),
        links=tuple(Link(arm="BAN", place=PLACES[cell.column], cell=cell) for cell in printed),
        differs=remarks("no dropout; the paper uses it in wide ResNets"),
        unknown=remarks(
            'how images are normalised ("except for mean-std normalization"); here by mean and standard deviation',
            ONE_RUN,
            LAST_EPOCH,
        ),
        left_out=(LeftOut(name=missing, reason=lacking(networks=("DenseNet-90-60",))),) if table.table == "3" else (),
    )
