"""From a study to what a person reads."""

from tutelage.report.comparison import as_csv, comparison_table, markdown, missing
from tutelage.report.explain import explanation
from tutelage.report.tables import table

__all__ = ["as_csv", "comparison_table", "explanation", "markdown", "missing", "table"]
