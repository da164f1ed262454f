"""Print the results of a study: its generations, the comparison of its arms, and what a paper printed of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.cli.console import print_lines, print_tables, write_file
from tutelage.cli.streams import discard_output, reader_has_left

if TYPE_CHECKING:
    from tutelage.analysis import Results
    from tutelage.cli.options import ComparisonOptions


def print_results(results: Results, comparison: ComparisonOptions, runs: Path) -> None:
    """Print the tables of a study and where its files are; write the files that were asked for."""
    try:
        _print_results(results, comparison, runs)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        if not reader_has_left(error):
            raise
        discard_output()  # the files that were asked for are written although nobody reads what is printed
        _print_results(results, comparison, runs)


def _print_results(results: Results, comparison: ComparisonOptions, runs: Path) -> None:
    from tutelage.report.generations import generations_table
    from tutelage.report.remarks import continued

    print_tables(generations_table(results))
    _print_comparison(results, comparison)
    print_lines(
        *continued(results),
        f"models and predictions: {runs / 'models'}",
        f"this run: {runs / 'studies' / results.name}",
    )


def _print_comparison(results: Results, options: ComparisonOptions) -> None:
    """Print the comparison of several arms, and the numbers of the paper whose experiment the study is."""
    from tutelage.analysis import compare
    from tutelage.analysis.published import compare_published
    from tutelage.report.comparison import comparison_csv, comparison_markdown, comparison_table, failures
    from tutelage.report.published import published_markdown, published_table

    comparison = compare(results, confidence=options.confidence, test=options.test)
    published = compare_published(results)
    arms_table = comparison_table(comparison) if len(results.study.lineages) > 1 else None
    for table in (arms_table, published_table(published)):
        if table is not None:
            print()
            print_tables(table)
    for reason in failures(comparison):
        print_lines(f"failed: {reason}")
    if options.markdown is not None:
        parts = comparison_markdown(comparison), published_markdown(published)
        write_file(options.markdown, "\n".join(filter(None, parts)))
    if options.csv is not None:
        write_file(options.csv, comparison_csv(comparison))
