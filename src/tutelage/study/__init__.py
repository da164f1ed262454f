"""Studies: arms x seeds, where they run, what came out, and how sure it is."""

from tutelage.study.compare import Comparison, Standing, compare, compare_models
from tutelage.study.machine import Machine
from tutelage.study.results import Results, Row, load_results
from tutelage.study.run import run
from tutelage.study.seed import Event
from tutelage.study.values import Failure, Study, Written, load_study, studies

__all__ = [
    "Comparison",
    "Event",
    "Failure",
    "Machine",
    "Results",
    "Row",
    "Standing",
    "Study",
    "Written",
    "compare",
    "compare_models",
    "load_results",
    "load_study",
    "run",
    "studies",
]
