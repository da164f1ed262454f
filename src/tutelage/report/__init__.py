"""From a study to what a person reads."""

from tutelage.report.explain import explanation
from tutelage.report.tables import table

__all__ = ["explanation", "table"]
