"""Tables of the diagnostics of distillation: targets, temperatures, agreement."""

from __future__ import annotations

from collections.abc import Mapping

from tutelage.analysis.diagnostics.catalog import Diagnostics
from tutelage.analysis.diagnostics.targets import TargetsRecord, TemperaturesRecord
from tutelage.errors import printable
from tutelage.report.diagnostics.notes import NOT_AUGMENTED, missing_notes
from tutelage.report.diagnostics.rows import HEAD, by_generation, head, join_teachers, number, numbers
from tutelage.report.format import EMPTY, Cell, mean_std, percent, text
from tutelage.report.table import Table, make_table

_TARGETS = (
    f"{NOT_AUGMENTED} During training a teacher sees augmented views, and may be wrong on more of them. Changed: the "
    "target differs from the teacher's own distribution at the same temperature; knowledge adjustment changes it "
    "where the teacher is wrong. Mass moved: half the sum of absolute differences, mean over the changed targets; in "
    "all: mean over all targets."
)
_TEMPERATURES = (
    f"{NOT_AUGMENTED} The temperatures that the finished student would get, in the batches of its last epoch. All "
    "images of all seeds together."
)
_AGREEMENT = (
    "KL: mean divergence from teacher to student at temperature 1, in nats. Correlation: mean over the images of the "
    "correlation of the two networks' logits over the classes."
)


def targets_table(diagnostics: Diagnostics) -> Table:
    """How many targets of teachers are wrong, and how the objectives change them."""
    records = diagnostics.targets.records
    return make_table(
        "targets",
        "Teachers' targets on the training images: how many are wrong, and how the objective changes them",
        (
            *HEAD,
            "teacher",
            "wrong %",
            "term",
            "target",
            "changed %",
            "mass moved",
            "in all",
            "most often wrong, %",
        ),
        [_targets_row(record, len(group) > 1, diagnostics) for group in by_generation(records) for record in group],
        (_TARGETS, *missing_notes(diagnostics, diagnostics.targets.missing)),
        [
            numbers(
                record,
                {
                    "term": record.term,
                    "class": printable(one.name),
                    "wrong": one.wrong,
                    "changed": one.changed,
                    "moved": one.moved,
                },
            )
            for record in records
            for one in record.classes
        ],
    )


def temperatures_table(diagnostics: Diagnostics) -> Table:
    """The distribution of the temperatures of single training images."""
    records = diagnostics.temperatures.records
    return make_table(
        "temperatures",
        "Temperatures of single training images (dynamic temperature)",
        (
            *HEAD,
            "term",
            "mean",
            "lowest",
            "5 %",
            "25 %",
            "median",
            "75 %",
            "95 %",
            "highest",
            "at the floor, %",
        ),
        [
            _temperatures_row(record, len(group) > 1, diagnostics)
            for group in by_generation(records)
            for record in group
        ],
        (_TEMPERATURES, *missing_notes(diagnostics, diagnostics.temperatures.missing)),
        [
            numbers(record, {"term": record.term, "below": share, "temperature": temperature})
            for record in records
            for share, temperature in record.quantiles.items()
        ],
    )


def agreement_table(diagnostics: Diagnostics) -> Table:
    """How far students agree with their teachers."""
    records = diagnostics.agreement.records
    return make_table(
        "agreement",
        "Agreement of student and teacher on the test images",
        (*HEAD, "teacher", "same best class, %", "KL", "correlation", "teacher's top-1", "student's top-1"),
        [
            (
                *head(group[0], len(group), diagnostics),
                join_teachers(group[0].teachers),
                percent([record.same for record in group]),
                mean_std([record.kl for record in group], digits=3),
                mean_std([record.correlation for record in group], digits=3),
                percent([record.teacher_top1 for record in group]),
                percent([record.top1 for record in group]),
            )
            for group in by_generation(records)
        ],
        (_AGREEMENT, *missing_notes(diagnostics, diagnostics.agreement.missing)),
        [
            numbers(
                record,
                {
                    "seed": record.seed,
                    "same": record.same,
                    "kl": record.kl,
                    "correlation": record.correlation,
                    "teacher_top1": record.teacher_top1,
                    "top1": record.top1,
                },
            )
            for record in records
        ],
    )


def _targets_row(record: TargetsRecord, several: bool, diagnostics: Diagnostics) -> tuple[Cell, ...]:
    """The row of one term, which is named where its objective has several."""
    wrong = [f"{one.name} {100 * one.wrong:.1f}" for one in record.most_wrong]
    return (
        *head(record, len(record.wrong), diagnostics),
        join_teachers(record.teachers),
        percent(_values(record.wrong)),
        text(record.term or "") if several else EMPTY,
        text(record.target or "not analysed"),
        percent(_values(record.changed)),
        mean_std(_values(record.moved_if_changed), digits=4),
        mean_std(_values(record.moved), digits=4),
        text(printable(", ".join(wrong))),
    )


def _temperatures_row(record: TemperaturesRecord, several: bool, diagnostics: Diagnostics) -> tuple[Cell, ...]:
    """The row of one term, which is named where several have temperatures of their own."""
    return (
        *head(record, len(record.seeds), diagnostics),
        text(record.term) if several else EMPTY,
        number(record.mean, 3),
        *(number(record.quantiles[share], 3) for share in (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)),
        number(record.at_floor, 2, 100),
    )


def _values(by_seed: Mapping[int, float]) -> list[float]:
    return list(by_seed.values())
