"""One page of one or several runs: ``tutelage report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from tutelage.errors import unknown
from tutelage.paths import runs_folder


def report(
    *run: str,
    out: Path | None = None,
    test: Literal["t", "wilcoxon", "permutation"] = "t",
    confidence: float = 0.95,
    diagnostics: Annotated[bool, Parameter(negative=())] = False,
    trust: Annotated[bool, Parameter(negative=())] = False,
    runs: Path | None = None,
) -> int:
    """Make one HTML page of runs: which arms beat the reference, how sure that is, plots, where every number is from.

    Each run's comparison is written beside it as Markdown and CSV.

    Args:
        run: Names from `tutelage list runs`; the newest by default.
        out: The folder to write; the folder `reports` beside the runs by default.
        test: Where p-values come from: the paired t test, Wilcoxon's signed ranks, or all flips of signs.
        confidence: The confidence of the intervals.
        diagnostics: Show those of `tutelage diagnose` too; that reads every model's predictions.
        trust: Import the code of a network from outside tutelage where a run cannot be told apart without.
        runs: The folder of models and runs; TUTELAGE_RUNS or ./runs by default.
    """
    from tutelage.analysis import compare, load_results
    from tutelage.cli.console import written
    from tutelage.report import as_csv, markdown, published_markdown
    from tutelage.report.page.build import page, sections_of
    from tutelage.study import studies

    folder = runs or runs_folder()
    known = studies(folder)
    if not known:
        raise ValueError(f"there is no run to report on: {folder} holds none yet")
    names = list(dict.fromkeys(run or known[:1]))
    for name in names:
        if name not in known:
            raise unknown("run", name, known)
    target = out or folder / "reports"
    if target.exists() and not target.is_dir():
        raise ValueError(f"{target} is a file: expected a folder to write")
    found = {
        name: compare(load_results(name, folder, trust=trust), confidence=confidence, test=test) for name in names
    }

    def write(name: str, text: str) -> None:
        written(target / name, text)

    for name, comparison in found.items():
        write(f"{name}.md", "\n".join(filter(None, (markdown(comparison), published_markdown(comparison.results)))))
        write(f"{name}.csv", as_csv(comparison))
    more = f"-and-{len(names) - 1}-more" if len(names) > 1 else ""
    write(f"{names[0]}{more}.html", page(found, sections_of(len(found), diagnostics)))
    return 0
