"""From a study to what a person reads."""

from tutelage.report.comparison import as_csv, comparison_table, markdown, missing
from tutelage.report.explain import explanation
from tutelage.report.published import beside, published_markdown, published_rows, published_table
from tutelage.report.remarks import continued
from tutelage.report.run_table import run_table

__all__ = [
    "as_csv",
    "beside",
    "comparison_table",
    "continued",
    "explanation",
    "markdown",
    "missing",
    "published_markdown",
    "published_rows",
    "published_table",
    "run_table",
]
