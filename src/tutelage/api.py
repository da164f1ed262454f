"""The command's verbs for Python: the same names, the same arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.analysis import Comparison, Results, load_results
from tutelage.analysis import compare as compare_results
from tutelage.analysis.diagnostics.catalog import NEED_LABELS, NEED_LOGITS, PARTS, diagnostics
from tutelage.analysis.sheets import Sheet
from tutelage.analysis.statistics import PairedTest
from tutelage.analysis.training_sets import measure_training_sets
from tutelage.data.load import facts
from tutelage.lineage import Lineage
from tutelage.paths import data_folder, runs_folder
from tutelage.recipes import call
from tutelage.recipes import study_spec as named_arms
from tutelage.report import explanation
from tutelage.study import Event, Execution, Study
from tutelage.study import run as run_study


def explain(recipe: str | Callable[..., Lineage], **arguments: Any) -> str:
    """Say what a recipe would do, and train nothing.

    Errors: ``ValueError`` for a recipe, argument or value that does not exist, with the nearest names.

    >>> "eta = 0.571429, k = 5" in explain("tolerant", primary=0.6)
    True
    """
    lineage = call(recipe, **arguments)
    return explanation(lineage, facts(lineage.data, data_folder()))


def run(
    recipe: str | Callable[..., Lineage],
    *,
    seeds: Sequence[int] = (0,),
    runs: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    processes: int = 1,
    **arguments: Any,
) -> Results:
    """Train what is missing of a recipe's lineage for each seed, in this process unless told otherwise.

    With ``processes`` above 1 the seeds run side by side; the calling script then needs the usual
    ``if __name__ == "__main__"``.

    Errors: ``ValueError`` for a recipe, argument or value that does not exist; ``RuntimeError`` naming the seeds that
    failed and why, after the others are done.

    >>> import tempfile
    >>> results = run("baseline", epochs=1, train_size=20, runs=tempfile.mkdtemp())
    >>> [row.generation for row in results.rows], 0 <= results.rows[0].test[0]["top1"] <= 1
    (['baseline'], True)
    """
    study = Study(lineages=(call(recipe, **arguments),), seeds=tuple(seeds))
    machine = Execution(device=device, precision=precision, threads=threads, processes=processes)
    folder = Path(runs) if runs is not None else runs_folder()
    failures = [f"seed {event.seed}: {event.text}" for event in _failures(study, folder, machine)]
    if failures:
        raise RuntimeError("; ".join(failures))
    return load_results(study.name, folder)


def compare(
    arms: Sequence[str | Mapping[str, Any]],
    *,
    seeds: Sequence[int] = (0,),
    reference: str | None = None,
    runs: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    processes: int = 1,
    test: PairedTest = "t",
    confidence: float = 0.95,
    **shared: Any,
) -> Comparison:
    """Train what is missing of a study, and compare its arms to the reference: ``tutelage study``.

    ``arms`` and ``shared`` are those of ``recipes.study_spec.study``, the rest those of :func:`run`. An arm that
    fails at a seed leaves the others running; why is in the comparison's ``results.failures``.

    Errors: ``ValueError`` for a recipe, argument, reference or value that does not exist.

    >>> import tempfile
    >>> arms = ["baseline", {"recipe": "label_smoothing", "smoothing": 0.2}]
    >>> compared = compare(arms, seeds=(0, 1), epochs=1, train_size=20, runs=tempfile.mkdtemp())
    >>> [(standing.arm, len(standing.seeds)) for standing in compared.standings]
    [('baseline', 2), ('label_smoothing', 2)]
    """
    study = named_arms.study(arms, seeds=seeds, reference=reference, **shared)
    machine = Execution(device=device, precision=precision, threads=threads, processes=processes)
    folder = Path(runs) if runs is not None else runs_folder()
    _failures(study, folder, machine)
    return compare_results(load_results(study.name, folder), confidence=confidence, test=test)


def diagnose(results: Results, *, only: Sequence[str] = PARTS, ensemble: Sequence[str] = ()) -> tuple[Sheet, ...]:
    """The diagnostics that the papers use, of what :func:`run` returned; see ``report.diagnostics``.

    Errors: ``ValueError`` for a diagnostic or a member of an ensemble that does not exist.

    >>> import tempfile
    >>> results = run("baseline", epochs=1, train_size=20, runs=tempfile.mkdtemp())
    >>> [sheet.name for sheet in diagnose(results, only=["energy", "second"])]
    ['energy', 'second']
    """
    if NEED_LABELS & set(only):
        for _ in measure_training_sets(results, logits=bool(NEED_LOGITS & set(only))):
            pass
    return diagnostics(results, only=only, ensemble=ensemble)


def _failures(study: Study, runs: Path, machine: Execution) -> list[Event]:
    return [event for event in run_study(study, runs=runs, machine=machine) if event.phase == "failed"]
