"""Studies: lineages x seeds, where they run, and what came out."""

from tutelage.study.results import Results, Row, load_results
from tutelage.study.run import Event, Machine, run
from tutelage.study.values import Study, Written, load_study, studies

__all__ = [
    "Event",
    "Machine",
    "Results",
    "Row",
    "Study",
    "Written",
    "load_results",
    "load_study",
    "run",
    "studies",
]
