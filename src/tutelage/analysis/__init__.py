"""What came of a study, as typed records: results by seed, comparisons, diagnostics, transfer, published figures."""

from tutelage.analysis.comparison import ArmResult, Comparison, compare, compare_models
from tutelage.analysis.results import Results, Row, load_results

__all__ = ["ArmResult", "Comparison", "Results", "Row", "compare", "compare_models", "load_results"]
