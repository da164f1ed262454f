"""The diagnostics that the papers use, of a study: each a plain table with the numbers behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tutelage.analysis import Results
from tutelage.analysis.diagnostics import distillation, test_set, training_set
from tutelage.analysis.diagnostics.generations import Line, lines
from tutelage.analysis.ensembles import ensembles
from tutelage.analysis.sheets import Sheet
from tutelage.errors import unknown

_MADE: dict[tuple[str, ...], Callable[[Sequence[Line]], tuple[Sheet, ...]]] = {
    ("energy",): training_set.energy,
    ("scores",): training_set.scores,
    ("second",): training_set.second,
    ("coarse",): test_set.coarse,
    ("targets", "temperatures"): distillation.lessons,
    ("agreement",): distillation.pupils,
    ("calibration", "reliability"): test_set.calibration,
}
PARTS = ("generations", *(name for names in _MADE for name in names), "ensembles")
"""The names of all diagnostics, in their order."""
NEED_LOGITS = frozenset({"scores", "second", "targets", "temperatures"})
"""Those that need every model to be run over its training images (``study.training_sets``)."""
NEED_LABELS = NEED_LOGITS | {"coarse"}
"""Those that need the labels of the training images to be read."""


def diagnostics(
    results: Results, *, only: Sequence[str] = PARTS, seed: int | None = None, ensemble: Sequence[str] = ()
) -> tuple[Sheet, ...]:
    """The diagnostics of a study, by default all of them, over all seeds or of one.

    Nothing is run and no images are loaded: everything comes from what is stored. What needs the training images is
    left out of the tables, and their notes say so, until ``analysis.training_sets.measure_training_sets`` has run.

    Each :class:`Sheet` is plain data: ``name``, ``title``, ``headings``, ``rows`` (text cells, as printed), ``notes``
    and ``series``, a tuple of flat dictionaries with all digits. Shares are in [0, 1], NLL and KL in nats. Beside
    ``arm``, ``generation`` (its name) and ``place`` (0 for the first) the dictionaries hold:

    - ``generations``: seed, top1, baseline (the reference arm's last generation at that seed, None without)
    - ``energy``: seed, predicted (or None), label, best, second_to_fifth, others
    - ``scores``: rank (1 to 10), mean, low, median, high (5, 50 and 95 %), over all seeds
    - ``second``: true, second (class names), images, share (of the true class's images), over all seeds; no zeros
    - ``coarse``: seed, top1, coarse_top1, mistakes_within, by_chance, dist_c, dist_s
    - ``targets``: term, class, wrong, changed, moved (None where the objective is not looked into), over all seeds
    - ``temperatures``: term, below (a share, in steps of 0.05), temperature (that quantile), over all seeds
    - ``agreement``: seed, same, kl, correlation, teacher_top1, top1
    - ``calibration``: seed, nll, ece, overconfidence, temperature, nll_scaled, ece_scaled, fitted_on
    - ``reliability``: scaled (a bool), from, to, images, confidence, accuracy, over all seeds; no empty bins
    - ``ensembles``, without generation and place: members, size, seed (None across seeds), top1, members_top1, gain,
      nll, ece

    ``ensemble`` asks for ensembles, see :func:`tutelage.analysis.ensembles.ensembles`.

    Errors: ``ValueError`` for a diagnostic, a seed or a member of an ensemble that does not exist, and where nothing
    is finished.

    >>> import tempfile, tutelage
    >>> results = tutelage.run("baseline", epochs=1, train_size=20, runs=tempfile.mkdtemp())
    >>> (sheet,) = diagnostics(results, only=["energy"])
    >>> sheet.headings[:4], sheet.rows[0][:4]
    (('arm', 'generation', 'seeds', 'label, predicted'), ('baseline', 'baseline', '1', '1.0000'))
    """
    for name in only:
        if name not in PARTS:
            raise unknown("diagnostic", name, PARTS)
    found = lines(results, seed)
    arms = [lineage.name for lineage in results.study.lineages]
    reference = (results.study.reference or arms[0]) if len(arms) > 1 else None
    sheets = [test_set.generations(found, reference)] if "generations" in only else []
    for names, make in _MADE.items():
        if set(names) & set(only):
            sheets += make(found)
    if "ensembles" in only:
        sheets.append(ensembles(found, ensemble))
    there = {(line.arm, line.row.place) for line in found}
    absent = [f"{row.lineage}/{row.generation}" for row in results.rows if (row.lineage, row.place) not in there]
    note = (f"Not finished yet: {', '.join(absent)}.",) if absent else ()
    return tuple(replace(sheet, notes=(*sheet.notes, *note)) for sheet in sheets if sheet.name in only)
