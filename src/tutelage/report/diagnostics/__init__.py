"""The diagnostics of a study as tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tutelage.analysis.diagnostics.catalog import Diagnostics
from tutelage.report.diagnostics import calibration, distillation, ensembles, test_set, training_set
from tutelage.report.diagnostics.notes import generation_name
from tutelage.report.table import Table

TABLES: dict[str, Callable[[Diagnostics], Table]] = {
    "generations": test_set.generations_table,
    "energy": training_set.energy_table,
    "scores": training_set.scores_table,
    "second": training_set.second_table,
    "coarse": test_set.coarse_table,
    "targets": distillation.targets_table,
    "temperatures": distillation.temperatures_table,
    "agreement": distillation.agreement_table,
    "calibration": calibration.calibration_table,
    "reliability": calibration.reliability_table,
    "ensembles": ensembles.ensembles_table,
}
"""The table of each diagnostic."""


def diagnostics_tables(diagnostics: Diagnostics) -> tuple[Table, ...]:
    """One table per requested diagnostic, named after it.

    The ``records`` of a table are the numbers behind it. Shares are in [0, 1], NLL and KL in nats. Beside ``arm``,
    ``generation`` (its name) and ``place`` (0 for the first) they hold:

    - ``generations``: seed, top1, baseline (the reference arm's last generation at that seed, None without)
    - ``energy``: seed, predicted (or None), label, best, second_to_fifth, others
    - ``scores``: rank (1 to 10), mean, low, median, high (5, 50 and 95 %), over all seeds
    - ``second``: true, second (class names), images, share (of the true class's images), over all seeds; no zeros
    - ``coarse``: seed, top1, coarse_top1, mistakes_within, by_chance, dist_c, dist_s
    - ``targets``: term, class, wrong, changed, moved (None for objectives that are not analysed), over all seeds
    - ``temperatures``: term, below (a share, in steps of 0.05), temperature (that quantile), over all seeds
    - ``agreement``: seed, same, kl, correlation, teacher_top1, top1
    - ``calibration``: seed, nll, ece, overconfidence, temperature, nll_scaled, ece_scaled, fitted_on
    - ``reliability``: scaled (a bool), from, to, images, confidence, accuracy, over all seeds; no empty bins
    - ``ensembles``, without generation and place: members, size, seed (None across seeds), top1, members_top1, gain,
      nll, ece

    >>> import tempfile, tutelage
    >>> from tutelage.analysis.diagnostics.catalog import diagnose
    >>> results = tutelage.run("baseline", epochs=1, train_size=20, runs=tempfile.mkdtemp())
    >>> (table,) = diagnostics_tables(diagnose(results, only=["energy"]))
    >>> [column.name for column in table.columns[:4]], [cell.text for cell in table.rows[0][:4]]
    (['arm', 'generation', 'seeds', 'label, predicted'], ['baseline', 'baseline', '1', '1.0000'])
    """
    unfinished = [generation_name(generation) for generation in diagnostics.unfinished]
    note = (f"Not finished yet: {', '.join(unfinished)}.",) if unfinished else ()
    tables = (TABLES[name](diagnostics) for name in diagnostics.names)
    return tuple(replace(table, notes=(*table.notes, *note)) for table in tables)
