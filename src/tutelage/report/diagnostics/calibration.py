"""Tables of calibration and of the reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.analysis.diagnostics.calibration import BINS, FOLDS, CalibrationRecord
from tutelage.analysis.diagnostics.catalog import Diagnostics
from tutelage.report.diagnostics.notes import generation_name
from tutelage.report.diagnostics.rows import HEAD, by_generation, head, known, numbers
from tutelage.report.format import EMPTY, Cell, mean_std, text
from tutelage.report.table import Table, make_table

_FITTED = (
    f"NLL in nats; ECE over {BINS} bins; overconfidence: mean confidence less accuracy. The temperature is fitted on "
    "the holdout where there is one. Otherwise it is cross-fitted on the test images: each is scaled by the "
    f"temperature that fits the other {FOLDS - 1} of {FOLDS} folds, never by one fitted on its own label; the median "
    "is shown, and such values are for comparison only, since they need labelled test images."
)
_RELIABILITY = (
    "Columns are named by the upper ends of the bins; below 0 the network is overconfident. All images of all seeds "
    "together; empty where there is none. Bins of few images say little: their numbers are in the CSV."
)


def calibration_table(diagnostics: Diagnostics) -> Table:
    """Calibration before and after temperature scaling."""
    records = diagnostics.calibration.records
    unfit = [
        f"{generation_name(one)} at seed {one.seed}"
        for one in diagnostics.calibration.missing
        if one.reason == "no temperature fits"
    ]
    note = f"No temperature fits, as all labels have the largest logit or far too few: {', '.join(unfit)}."
    return make_table(
        "calibration",
        "Calibration on the test images, before and after temperature scaling",
        (*HEAD, "NLL", "ECE", "overconfidence", "temperature", "NLL scaled", "ECE scaled", "fitted on"),
        [
            (*head(group[0], len(group), diagnostics), *_measures(group), text(fitted_on(group[-1])))
            for group in by_generation(records)
        ],
        (_FITTED, *([note] if unfit else [])),
        [
            numbers(
                record,
                {
                    "seed": record.seed,
                    "nll": record.nll,
                    "ece": record.ece,
                    "overconfidence": record.overconfidence,
                    "temperature": record.temperature,
                    "nll_scaled": record.nll_scaled,
                    "ece_scaled": record.ece_scaled,
                    "fitted_on": None if record.temperature is None else fitted_on(record),
                },
            )
            for record in records
        ],
    )


def reliability_table(diagnostics: Diagnostics) -> Table:
    """Accuracy less confidence by bin, before temperature scaling; the records hold both."""
    records = diagnostics.reliability.records
    rows = []
    for group in by_generation(record for record in records if not record.scaled):
        gaps = {record.bin: Cell(f"{round(100 * record.gap):+d}", 100 * record.gap) for record in group}
        cells = [gaps.get(number, EMPTY) for number in range(BINS)]
        rows.append((*head(group[0], len(group[0].seeds), diagnostics), *cells))
    return make_table(
        "reliability",
        "Reliability on the test images: accuracy less confidence, in points, by bin of confidence",
        (*HEAD, *(f"{(number + 1) / BINS:.2f}" for number in range(BINS))),
        rows,
        (_RELIABILITY,),
        [
            numbers(
                record,
                {
                    "scaled": record.scaled,
                    "from": record.low,
                    "to": record.high,
                    "images": record.images,
                    "confidence": record.confidence,
                    "accuracy": record.accuracy,
                },
            )
            for record in records
        ],
    )


def fitted_on(record: CalibrationRecord) -> str:
    """The images that the temperature is fitted on."""
    return f"test, {FOLDS} folds" if record.holdout is None else f"holdout, {record.holdout:,}"


def _measures(group: Sequence[CalibrationRecord]) -> tuple[Cell, ...]:
    return (
        mean_std([record.nll for record in group], digits=3),
        mean_std([record.ece for record in group], digits=3),
        mean_std([record.overconfidence for record in group], digits=3, sign=True),
        mean_std(known(record.temperature for record in group), digits=3),
        mean_std(known(record.nll_scaled for record in group), digits=3),
        mean_std(known(record.ece_scaled for record in group), digits=3),
    )
