"""What came of a study, as typed records: results by seed, comparisons, diagnostics, transfer, published figures."""

from tutelage.analysis.comparison import ArmResult, Comparison, compare, compare_models
from tutelage.analysis.results import GenerationResult, Results, SeedResult, load_results
from tutelage.analysis.statistics import Paired, Summary, spread
from tutelage.evaluation import Measures

__all__ = [
    "ArmResult",
    "Comparison",
    "GenerationResult",
    "Measures",
    "Paired",
    "Results",
    "SeedResult",
    "Summary",
    "compare",
    "compare_models",
    "load_results",
    "spread",
]
