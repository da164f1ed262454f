"""``tutelage diagnose``: the diagnostics that the papers use."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

from cyclopts import Parameter

from tutelage.cli.console import ProgressLines, check_files, print_tables, write_tables
from tutelage.cli.exit_codes import DONE
from tutelage.cli.options import SEVERAL, Csv, Markdown, Run, Runs

Diagnostic = Literal[
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
    run: Run,
    /,
    *,
    only: Annotated[tuple[Diagnostic, ...], SEVERAL] = (),
    seed: int | None = None,
    ensemble: Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)] = (),
    markdown: Markdown = None,
    csv: Csv = None,
    runs: Runs = None,
) -> int:
    """Print the diagnostics that the papers use: scores, targets, calibration, agreement, ensembles.

    Some need every model to be run over its training images once; the results are stored in the folder of runs.

    Args:
        only: Only these diagnostics. generations, energy, agreement, calibration, reliability and ensembles need no
            images.
        seed: Only this seed; by default all of them.
        ensemble: An ensemble of these members: 0,2,5 (generations, seed by seed), 5:0,5:1 or 5:* (a generation across
            seeds), or ARM/5,OTHER/0. Once for each ensemble.
    """
    from tutelage import api
    from tutelage.engine import keep_freed_memory

    check_files(markdown, csv)
    keep_freed_memory()
    tables = api.diagnose(
        run,
        only=only,
        seed=seed,
        ensembles=ensemble,
        runs=runs,
        on_progress=ProgressLines("run over the training images", "models"),
    )
    print_tables(*tables, wrap=True)
    words = ["tutelage", "diagnose", run]
    words += ["--only", *only] if only else []
    words += [] if seed is None else ["--seed", str(seed)]
    for members in ensemble:
        words += ["--ensemble", members]
    write_tables(f"Diagnostics of {run}", tables, shlex.join(words), markdown, csv)
    return DONE
