"""Tables of the diagnostics on the training images: energy, sorted scores, second choices."""

from __future__ import annotations

from tutelage.analysis.diagnostics.catalog import Diagnostics
from tutelage.errors import printable
from tutelage.report.diagnostics.notes import NOT_AUGMENTED, missing_notes
from tutelage.report.diagnostics.rows import HEAD, by_generation, head, known, number, numbers
from tutelage.report.format import EMPTY, Cell, mean_std, percent, text
from tutelage.report.table import Column, Table, make_table

_ENERGY = (
    "Mean scores. Predicted: the labelled class's score at the optimum of the objective, where that has a closed "
    "form; the best class is then the label's, and all others share the rest. A network that does not fit all of its "
    "training images stays away from it."
)
_SCORES = (
    f"{NOT_AUGMENTED} 1st to 5th: the mean score of the best class, of the second best, and so on. Its 5 %: the "
    "label's score is lower on one image in twenty. All images of all seeds together."
)
_SECOND = (
    f"{NOT_AUGMENTED} Label second: the image's own class comes second. Most frequent: the second choice is the most "
    "frequent one of the image's class. In superclass: of the second choices of another class, those in the label's "
    "superclass; by chance: if all other classes were equally likely. Pairs: true class, second choice, share of "
    "that class's images. All images of all seeds together."
)


def energy_table(diagnostics: Diagnostics) -> Table:
    """The labelled class's score that the closed form predicts, beside the scores measured."""
    records = diagnostics.energy.records
    rows = []
    for group in by_generation(records):
        predicted = group[0].predicted
        rows.append(
            (
                *head(group[0], len(group), diagnostics),
                Cell("no closed form") if predicted is None else number(predicted),
                mean_std([record.label for record in group], digits=4),
                mean_std(known(record.difference for record in group), digits=4, sign=True),
                mean_std([record.best for record in group], digits=4),
                mean_std([record.second_to_fifth for record in group], digits=4),
                mean_std([record.others for record in group], digits=4),
            )
        )
    return make_table(
        "energy",
        "Energy on the training images, predicted and measured",
        (
            *HEAD,
            Column("label, predicted", "number"),
            "label, measured",
            "difference",
            "best",
            "2nd to 5th",
            "all others",
        ),
        rows,
        (_ENERGY,),
        [
            numbers(
                record,
                {
                    "seed": record.seed,
                    "predicted": record.predicted,
                    "label": record.label,
                    "best": record.best,
                    "second_to_fifth": record.second_to_fifth,
                    "others": record.others,
                },
            )
            for record in records
        ],
    )


def scores_table(diagnostics: Diagnostics) -> Table:
    """The sorted scores: the label's, and the five highest."""
    records = diagnostics.scores.records
    rows = []
    for record in records:
        ranks = [number(scores.mean) for scores in record.ranks[:5]]
        rows.append(
            (
                *head(record, len(record.seeds), diagnostics),
                percent(list(record.top1.values())),
                number(record.label_mean),
                number(record.label_low),
                number(record.label_median),
                *ranks,
                *[EMPTY] * (5 - len(ranks)),
            )
        )
    return make_table(
        "scores",
        "Sorted scores on the training images (Figure 1 of arXiv 1805.05551 v1)",
        (*HEAD, "training top-1", "label's score", "its 5 %", "its median", "1st", "2nd", "3rd", "4th", "5th"),
        rows,
        (
            _SCORES,
            *missing_notes(diagnostics, diagnostics.scores.missing),
        ),
        [
            numbers(
                record,
                {
                    "rank": scores.rank,
                    "mean": scores.mean,
                    "low": scores.low,
                    "median": scores.median,
                    "high": scores.high,
                },
            )
            for record in records
            for scores in record.ranks
        ],
    )


def second_table(diagnostics: Diagnostics) -> Table:
    """Which class comes second, by true class."""
    records = diagnostics.second.records
    rows = []
    for record in records:
        frequent = [f"{pair.true} - {pair.second} {100 * pair.share:.0f}" for pair in record.frequent]
        rows.append(
            (
                *head(record, len(record.seeds), diagnostics),
                number(record.label_second, 2, 100),
                number(record.most_frequent, 2, 100),
                number(record.in_superclass, 2, 100),
                number(record.by_chance, 2, 100),
                text(printable(", ".join(frequent))),
            )
        )
    return make_table(
        "second",
        "Second choices on the training images, in percent (Figure 1 of arXiv 1805.05551 v1)",
        (*HEAD, "label second", "most frequent", "in superclass", "by chance", "the most frequent pairs"),
        rows,
        (
            _SECOND,
            *missing_notes(diagnostics, diagnostics.second.missing),
        ),
        [
            numbers(
                record,
                {
                    "true": printable(pair.true),
                    "second": printable(pair.second),
                    "images": pair.images,
                    "share": pair.share,
                },
            )
            for record in records
            for pair in record.pairs
        ],
    )
