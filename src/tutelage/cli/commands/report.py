"""``tutelage report``: one page of one or several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tutelage.cli.console import print_written
from tutelage.cli.exit_codes import DONE
from tutelage.cli.options import SWITCH, Confidence, Runs, Test, TrustRun


def report(
    *run: str,
    out: Path | None = None,
    test: Test = "t",
    confidence: Confidence = 0.95,
    diagnostics: Annotated[bool, SWITCH] = False,
    trust: TrustRun = False,
    runs: Runs = None,
) -> int:
    """Write one HTML page of runs: the answer first, then tables, plots, and where every number comes from.

    The comparison of each run is written beside the page, as Markdown and CSV.

    Args:
        run: Names from `tutelage list runs`; the newest by default.
        out: The folder to write to; by default the folder reports in that of the runs.
        diagnostics: Add the tables of `tutelage diagnose`; that reads the predictions of every model.
    """
    from tutelage import api

    api.report(
        *run,
        out=out,
        test=test,
        confidence=confidence,
        diagnostics=diagnostics,
        trust=trust,
        runs=runs,
        on_file=print_written,
    )
    return DONE
