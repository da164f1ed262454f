"""Studies: arms x seeds, and where they run."""

from tutelage.study.execution import Execution
from tutelage.study.run import run
from tutelage.study.seed_run import Event
from tutelage.study.spec import Failure, Study, StudyRecord, load_study, studies

__all__ = ["Event", "Execution", "Failure", "Study", "StudyRecord", "load_study", "run", "studies"]
