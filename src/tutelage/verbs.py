"""The command's verbs for Python: the same names, the same arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tutelage.config import data_folder, runs_folder
from tutelage.data.load import facts
from tutelage.lineage import Lineage
from tutelage.recipes import call
from tutelage.report import explanation
from tutelage.study import Machine, Results, Study, load_results
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
    machine = Machine(device=device, precision=precision, threads=threads, processes=processes)
    folder = Path(runs) if runs is not None else runs_folder()
    failures = [
        f"seed {event.seed}: {event.text}"
        for event in run_study(study, runs=folder, machine=machine)
        if event.phase == "failed"
    ]
    if failures:
        raise RuntimeError("; ".join(failures))
    return load_results(study.name, folder)
