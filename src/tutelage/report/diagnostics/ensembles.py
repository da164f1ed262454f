"""The table of ensembles."""

from __future__ import annotations

from tutelage.analysis.diagnostics.catalog import Diagnostics
from tutelage.analysis.ensembles import EnsembleRecord
from tutelage.report.format import Cell, mean_std, percent, text
from tutelage.report.table import Table, make_table

_READING = (
    "The mean of the members' probabilities; gain: over the mean of the members' own accuracies, in points. An "
    "ensemble costs as many times more to use as it has members. Choosing the best of many by these numbers is "
    "choosing on test data."
)


def ensembles_table(diagnostics: Diagnostics) -> Table:
    """Ensembles: accuracy beside that of the members, and calibration."""
    records = diagnostics.ensembles
    groups: dict[tuple[str, str], list[EnsembleRecord]] = {}
    for record in records:
        groups.setdefault((record.arm, members(record)), []).append(record)
    unfit = [f"{one.request}: {one.reason}." for one in diagnostics.unfit_ensembles]
    return make_table(
        "ensembles",
        "Ensembles on the test images, from stored predictions",
        ("arm", "members", "size", "ensembles", "test top-1", "members' mean", "gain", "NLL", "ECE"),
        [
            (
                text(arm),
                text(name),
                Cell(f"{group[0].size}", group[0].size),
                Cell(f"{len(group)}", len(group)),
                percent([record.top1 for record in group]),
                percent([record.members_top1 for record in group]),
                percent([record.gain for record in group], sign=True),
                mean_std([record.nll for record in group], digits=4),
                mean_std([record.ece for record in group], digits=4),
            )
            for (arm, name), group in groups.items()
        ],
        [_READING, *unfit] if records else ["No arm has several generations or seeds to combine."],
        [
            {
                "arm": record.arm,
                "members": members(record),
                "size": record.size,
                "seed": record.seed,
                "top1": record.top1,
                "members_top1": record.members_top1,
                "gain": record.gain,
                "nll": record.nll,
                "ece": record.ece,
            }
            for record in records
        ],
    )


def members(record: EnsembleRecord) -> str:
    """The members of an ensemble, as they were requested or by what they have in common."""
    match record.kind:
        case "generations":
            return f"generations 0 to {record.place}"
        case "seeds":
            return f"{record.generation}, all seeds"
        case "requested":
            return record.request
