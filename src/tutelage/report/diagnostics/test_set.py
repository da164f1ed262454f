"""Tables of the diagnostics on the test images: accuracy over the generations, superclasses."""

from __future__ import annotations

from tutelage.analysis.diagnostics.catalog import Diagnostics
from tutelage.report.diagnostics.notes import missing_notes
from tutelage.report.diagnostics.rows import HEAD, by_generation, head, known, numbers
from tutelage.report.format import mean_std, percent
from tutelage.report.table import Table, make_table

_COARSE = (
    "Coarse top-1: the superclass of the predicted class is the label's. Mistakes within: the mistakes that stay in "
    "the label's superclass; by chance: if all other classes were equally likely. Dist^C and Dist^S: the names are "
    "those of Yang et al. (AAAI 2019), whose definition we could not find; this one is ours: the mean distance "
    "between the mean scores of two classes of one superclass, and of two superclasses. Not comparable with "
    "published values."
)


def generations_table(diagnostics: Diagnostics) -> Table:
    """Accuracy over the generations, and the difference to the baseline."""
    records = diagnostics.generations.records
    reference = next((record.arm for record in records if record.is_baseline), None)
    reading = "Last epoch."
    if reference is not None:
        reading += (
            f" The baseline, dashed in the figure: the last generation of {reference} at the same seeds; differences "
            "in points, without a test (`tutelage show` has those)."
        )
    return make_table(
        "generations",
        "Accuracy over the generations on the test images (Figure 2 of arXiv 1805.05551 v1)",
        (*HEAD, "test top-1", "to the baseline"),
        [
            (
                *head(group[0], len(group), diagnostics),
                percent([record.top1 for record in group]),
                percent(known(record.difference for record in group), sign=True),
            )
            for group in by_generation(records)
        ],
        (reading,),
        [
            numbers(record, {"seed": record.seed, "top1": record.top1, "baseline": record.baseline})
            for record in records
        ],
    )


def coarse_table(diagnostics: Diagnostics) -> Table:
    """Superclasses: accuracy, mistakes within them, and their distances."""
    records = diagnostics.coarse.records
    return make_table(
        "coarse",
        "Superclasses on the test images, in percent",
        (*HEAD, "top-1", "coarse top-1", "mistakes within", "by chance", "Dist^C (ours)", "Dist^S (ours)"),
        [
            (
                *head(group[0], len(group), diagnostics),
                percent([record.top1 for record in group]),
                percent([record.coarse_top1 for record in group]),
                percent(known(record.mistakes_within for record in group)),
                percent(known(record.by_chance for record in group)),
                mean_std(known(record.dist_c for record in group), digits=4),
                mean_std(known(record.dist_s for record in group), digits=4),
            )
            for group in by_generation(records)
        ],
        (*([_COARSE] if records else []), *missing_notes(diagnostics, diagnostics.coarse.missing)),
        [
            numbers(
                record,
                {
                    "seed": record.seed,
                    "top1": record.top1,
                    "coarse_top1": record.coarse_top1,
                    "mistakes_within": record.mistakes_within,
                    "by_chance": record.by_chance,
                    "dist_c": record.dist_c,
                    "dist_s": record.dist_s,
                },
            )
            for record in records
        ],
    )
