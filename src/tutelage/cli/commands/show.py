"""``tutelage show``: print the results of a run again."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from tutelage.cli.exit_codes import DONE
from tutelage.cli.options import DEFAULT_COMPARISON, ComparisonOptions, Run, Runs, TrustRun
from tutelage.paths import runs_folder


def show(
    run: Run,
    /,
    *,
    comparison: Annotated[ComparisonOptions, Parameter(name="*")] = DEFAULT_COMPARISON,
    reference: str | None = None,
    trust: TrustRun = False,
    runs: Runs = None,
) -> int:
    """Print the table of a run again, and how its arms compare; of a run that is not done, what is finished.

    Args:
        reference: The arm that the others are compared with; by default the one that the study names.
    """
    from tutelage.analysis import load_results
    from tutelage.cli.results import print_results

    folder = runs or runs_folder()
    results = load_results(run, folder, trust=trust)
    if reference is not None:  # a misspelled one is reported before anything is printed
        results = replace(results, study=replace(results.study, reference=reference))
    print_results(results, comparison, folder)
    return DONE
