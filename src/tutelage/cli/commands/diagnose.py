"""Look closer at a finished run: ``tutelage diagnose``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from tutelage.cli.tables import must_be_files, show_sheets, tell
from tutelage.paths import runs_folder

if TYPE_CHECKING:
    from tutelage.analysis.training_sets import Measured

Part = Literal[
    "generations",
    "energy",
    "scores",
    "second",
    "coarse",
    "targets",
    "temperatures",
    "agreement",
    "calibration",
    "reliability",
    "ensembles",
]


def diagnose(
    run: str,
    /,
    *,
    only: Annotated[tuple[Part, ...], Parameter(consume_multiple=True, negative=(), show_default=False)] = (),
    seed: int | None = None,
    ensemble: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    markdown: Path | None = None,
    csv: Path | None = None,
    runs: Path | None = None,
) -> int:
    """Print the diagnostics that the papers use: scores, targets, calibration, agreement, ensembles.

    Some need each model to be run over its training images once; what it says is kept in the runs folder.

    Args:
        run: A name from `tutelage list runs`.
        only: These diagnostics; all by default. generations, energy, agreement, calibration, reliability and
            ensembles need no images.
        seed: Of this seed; over all seeds by default.
        ensemble: Put these members together, such as 0,2,5 (generations, seed by seed), 5:0,5:1 or 5:* (a generation
            across seeds) or ARM/5,OTHER/0; once for each ensemble.
        markdown: Write the tables here.
        csv: Write the numbers behind the tables here, with all digits.
        runs: The folder of models and runs; TUTELAGE_RUNS or ./runs by default.
    """
    from tutelage.analysis import load_results
    from tutelage.analysis.diagnostics.catalog import NEED_LABELS, NEED_LOGITS, PARTS, diagnostics
    from tutelage.analysis.diagnostics.generations import lines
    from tutelage.analysis.ensembles import find_ensembles
    from tutelage.analysis.training_sets import measure_training_sets
    from tutelage.engine import keep_freed_memory

    must_be_files(markdown, csv)
    wanted = only or PARTS
    if ensemble and "ensembles" not in wanted:
        wanted = (*wanted, "ensembles")
    results = load_results(run, runs or runs_folder())
    found = lines(results, seed)  # what was asked for in vain is said before any network runs
    find_ensembles(found, ensemble)
    if NEED_LABELS & set(wanted):
        keep_freed_memory()
        try:
            measured = measure_training_sets(results, seed, logits=bool(NEED_LOGITS & set(wanted)))
            tell("run over the training images", measured, _model)
        except ValueError as error:
            rest = [part for part in PARTS if part not in NEED_LABELS]
            raise ValueError(f"{error}; without images there is --only {' '.join(rest)}") from None
    sheets = diagnostics(results, only=wanted, seed=seed, ensemble=ensemble)
    asked = [*(["--only", *only] if only else []), *(["--seed", str(seed)] if seed is not None else [])]
    command = shlex.join(["tutelage", "diagnose", run, *asked, *(w for e in ensemble for w in ("--ensemble", e))])
    show_sheets(f"Diagnostics of {run}", sheets, command, markdown, csv)
    return 0


def _model(done: Measured) -> str:
    return f"models ({done.row.lineage}, {done.row.generation}, seed {done.seed})"
