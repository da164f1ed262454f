"""What the features of a study's models are worth on other datasets: plain rows, and tables of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tutelage.analysis import Results
from tutelage.analysis.sheets import Plain, Record, Sheet, sheet
from tutelage.analysis.transfer.comparison import find_reference, transfer_rows
from tutelage.analysis.transfer.probes import MOST_PIXELS, PROBES, Probe
from tutelage.evaluation.probe import L2, NEIGHBOURS, ONE_IN
from tutelage.report.comparison import probability

__all__ = ["find_reference", "transfer_rows", "transfer_sheets"]

TITLES = {"linear": "linear probe", "knn": f"{NEIGHBOURS} nearest neighbours"}
HEADINGS = ("arm", "generation", "network", "features", "seeds", "test top-1", "difference", "p (Holm)")


def transfer_sheets(
    results: Results,
    *,
    fingerprint: str | None = None,
    layers: Sequence[str] | None = None,
    probes: Sequence[Probe] = PROBES,
    seeds: Sequence[int] = (),
    reference: str | None = None,
) -> tuple[Sheet, ...]:
    """The rows of :func:`transfer_rows` as tables, one for each dataset, layers asked for and probe, by their names.

    Errors: those of :func:`transfer_rows`.
    """
    rows = transfer_rows(
        results, fingerprint=fingerprint, layers=layers, probes=probes, seeds=seeds, reference=reference
    )
    tables: dict[tuple[Plain, ...], list[Record]] = {}
    for row in rows:
        tables.setdefault((row["data_fingerprint"], row["layers"], row["probe"]), []).append(row)
    found = []
    for records in tables.values():
        first = records[0]
        title = (
            f"Transfer to {first['data']} ({first['train_images']:,} training and {first['test_images']:,} test "
            f"images, {first['num_classes']} classes): {TITLES[str(first['probe'])]}"
        )
        alone = len({record["network"] for record in records if record["network"]}) == 1
        cells = [_cells(record, alone=alone) for record in records]
        name = re.sub(
            r"\W+", "-", f"transfer_{first['probe']}_{str(first['data_fingerprint'])[:8]} {first['layers']}"
        )
        found.append(sheet(name.strip("-"), title, HEADINGS, cells, _notes(results, records), records))
    return tuple(found)


def _cells(record: Record, *, alone: bool) -> tuple[str, ...]:
    mean, deviation, p = record["accuracy"], record["deviation"], record["p_holm"]
    assert isinstance(mean, float)
    done, asked = len(str(record["seeds"]).split()), record["seeds_asked"]
    return (
        str(record["arm"]),
        str(record["generation"]),
        "" if alone else str(record["network"]),
        str(record["width"]),
        "" if asked is None else f"{done}" if done == asked else f"{done} of {asked}",
        f"{100 * mean:.2f}" + (f" ± {100 * deviation:.2f}" if isinstance(deviation, float) else ""),
        _difference(record),
        probability(p) if isinstance(p, float) else "",
    )


def _difference(record: Record) -> str:
    difference, low, high = (record[name] for name in ("difference", "difference_low", "difference_high"))
    if not isinstance(difference, float):
        return str(record["standing"])
    between = (
        f" ({100 * low:+.2f} to {100 * high:+.2f})" if isinstance(low, float) and isinstance(high, float) else ""
    )
    common = len(str(record["common_seeds"]).split())
    points = round(100 * difference, 2) + 0.0  # no -0.00
    return f"{points:+.2f}{between}" + (f" over {common}" if common < len(str(record["seeds"]).split()) else "")


def _notes(results: Results, records: Sequence[Record]) -> list[str]:
    """How to read a table."""
    linear, first = records[0]["probe"] == "linear", records[0]
    fits = list({record["addresses"] or record["arm"]: record for record in records}.values())
    layers = ", ".join(dict.fromkeys(str(record["layer"]) for record in records if record["layer"]))
    found = [
        f"Frozen features ({layers}) of the last epoch's network in eval mode; top-1 on the test set, in percent."
    ]
    if linear:
        found.append(
            f"Logistic regression on standardised features; one of {len(L2)} values of its l2 is chosen on one in "
            f"{ONE_IN} training images."
        )
    else:
        found.append(f"The {NEIGHBOURS} nearest training images by cosine have one vote each.")
    if reference := next((record["reference"] for record in records if record["reference"]), ""):
        found.append(f"Difference: to {reference}, in points, paired by seed, with its 95 % t interval.")
    if any(record["p"] is not None for record in records):
        found.append("p (Holm): paired t test, two-sided, corrected for the number of comparisons.")
    if any(record["arm"] and not record["network"] for record in records):
        found.append(
            "Pixels: the same probe without a network, on images of its channels and its size, up to "
            f"{MOST_PIXELS} x {MOST_PIXELS}."
        )
    if any(record["seeds_asked"] == 1 for record in records):
        found.append("One seed: no spread, no test.")
    if linear and (edge := _at_the_edge(fits)):
        found.append(f"Of the fits, {edge} chose the strongest or the weakest l2 there is: another might do better.")
    if unconverged := sum(count for record in fits if isinstance(count := record["unconverged"], int)):
        found.append(f"Of the fits, {unconverged} stopped before they converged.")
    if first["data"] in {Path(lineage.data.name).name for lineage in results.study.lineages}:
        found.append("Some of these models were trained on images of this very dataset.")
    found.append(f"Fingerprint of the data: {first['data_fingerprint']}.")
    return found


def _at_the_edge(records: Sequence[Record]) -> int:
    return sum(float(l2) in (L2[0], L2[-1]) for record in records for l2 in str(record["l2"]).split())
