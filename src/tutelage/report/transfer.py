"""Tables of how well the features of a study's models transfer to other datasets."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.analysis import Paired
from tutelage.analysis.transfer import L2, MAX_SIDE, NEIGHBOURS, ONE_IN, Probe, TransferRecord
from tutelage.report.format import EMPTY, Cell, interval, p_value, percent, seeds, slug, text
from tutelage.report.table import Column, Record, Table, make_table

PROBE_TITLES: dict[Probe, str] = {"linear": "linear probe", "knn": f"{NEIGHBOURS} nearest neighbours"}
STANDINGS = {"same models": "the same models", "no common seed": "no seed in common"}
COLUMNS = (
    Column("arm"),
    Column("generation"),
    Column("network"),
    Column("features", "number"),
    Column("seeds", "number"),
    Column("test top-1", "number"),
    Column("difference", "number"),
    Column("p (Holm)", "number"),
)


def transfer_tables(records: Sequence[TransferRecord]) -> tuple[Table, ...]:
    """One table for each dataset, request for layers and probe, in the order of the records."""
    groups: dict[tuple[str, tuple[str, ...], Probe], list[TransferRecord]] = {}
    for record in records:
        groups.setdefault((record.data_fingerprint, record.layers, record.probe), []).append(record)
    return tuple(_table(group) for group in groups.values())


def _table(records: Sequence[TransferRecord]) -> Table:
    first = records[0]
    one_network = len({record.network for record in records if not record.of_pixels}) == 1
    return make_table(
        slug(f"transfer_{first.probe}_{first.data_fingerprint[:8]} {' '.join(first.layers)}"),
        f"Transfer to {first.data} ({first.train_images:,} training and {first.test_images:,} test images, "
        f"{first.num_classes} classes): {PROBE_TITLES[first.probe]}",
        COLUMNS,
        [_cells(record, one_network=one_network) for record in records],
        _notes(records),
        [_record(record) for record in records],
    )


def _cells(record: TransferRecord, *, one_network: bool) -> tuple[Cell, ...]:
    return (
        text(_arm(record)),
        text(record.generation),
        EMPTY if one_network else text(record.network),
        Cell(str(record.width), record.width),
        EMPTY if record.seeds_requested is None else seeds(len(record.seeds), record.seeds_requested),
        percent(record.accuracies),
        _difference(record),
        p_value(record.p_holm),
    )


def _arm(record: TransferRecord) -> str:
    return f"pixels of {' x '.join(map(str, record.shape))}" if record.of_pixels else record.arm


def _difference(record: TransferRecord) -> Cell:
    if record.difference is None:
        return Cell(_standing(record))
    points = round(100 * record.difference.mean, 2) + 0.0  # adding 0.0 turns -0.00 into 0.00
    bounds = interval(record.difference.low, record.difference.high, sign=True)
    pairs = f" over {len(record.common_seeds)}" if len(record.common_seeds) < len(record.seeds) else ""
    return Cell(f"{points:+.2f}{f' ({bounds})' if bounds else ''}{pairs}", 100 * record.difference.mean)


def _standing(record: TransferRecord) -> str:
    return STANDINGS.get(record.standing, record.standing)


def _notes(records: Sequence[TransferRecord]) -> list[str]:
    """How to read a table."""
    first = records[0]
    modules = ", ".join(dict.fromkeys(module for record in records for module in record.modules))
    notes = [
        f"Frozen features ({modules}) of the last epoch's network in eval mode; top-1 on the test set, in percent."
    ]
    if first.probe == "linear":
        notes.append(
            f"Logistic regression on standardised features; its l2 is chosen from {len(L2)} values on one in "
            f"{ONE_IN} training images."
        )
    else:
        notes.append(f"The {NEIGHBOURS} nearest training images by cosine have one vote each.")
    if reference := next((record.reference for record in records if record.reference is not None), None):
        notes.append(f"Difference: to {'/'.join(reference)}, in points, paired by seed, with its 95 % t interval.")
    if any(record.difference is not None and record.difference.p is not None for record in records):
        notes.append("p (Holm): paired t test, two-sided, corrected for the number of comparisons.")
    if any(record.of_pixels for record in records):
        notes.append(
            "Pixels: the same probe without a network, on images with the network's channels and size, reduced to "
            f"{MAX_SIDE} x {MAX_SIDE} where they are larger."
        )
    if any(record.seeds_requested == 1 for record in records):
        notes.append("One seed: no spread, no test.")
    fits = list({(record.addresses, record.shape): record for record in records}.values())  # arms may share models
    if edge := sum(record.at_edge for record in fits):
        notes.append(f"{edge} of the fits chose the strongest or the weakest l2: a value beyond it might do better.")
    if unconverged := sum(record.unconverged for record in fits):
        notes.append(f"{unconverged} of the fits stopped before they converged.")
    if first.same_data:
        notes.append("Some of these models were trained on images of this very dataset.")
    notes.append(f"Fingerprint of the data: {first.data_fingerprint}.")
    return notes


def _record(record: TransferRecord) -> Record:
    """The record of a CSV line; several values are separated by spaces."""
    return {
        "data": record.data,
        "data_fingerprint": record.data_fingerprint,
        "train_images": record.train_images,
        "test_images": record.test_images,
        "num_classes": record.num_classes,
        "probe": record.probe,
        "layers": " ".join(record.layers),
        "arm": _arm(record),
        "generation": record.generation,
        "place": record.place,
        "network": record.network,
        "layer": " ".join(record.modules),
        "width": record.width,
        "seeds_requested": record.seeds_requested,
        "seeds": " ".join(map(str, record.seeds)),
        "accuracies": " ".join(map(repr, record.accuracies)),
        "l2": " ".join(f"{l2:g}" for l2 in record.l2),
        "addresses": " ".join(record.addresses),
        "accuracy": record.accuracy.mean,
        "deviation": record.accuracy.deviation,
        "reference": "/".join(record.reference or ()),
        "standing": _standing(record),
        "common_seeds": " ".join(map(str, record.common_seeds)),
        **_paired(record.difference),
        "p_holm": record.p_holm,
        "unconverged": record.unconverged,
    }


def _paired(difference: Paired | None) -> dict[str, float | None]:
    names = ("difference", "difference_low", "difference_high", "p")
    if difference is None:
        return dict.fromkeys(names)
    return dict(zip(names, (difference.mean, difference.low, difference.high, difference.p), strict=True))
