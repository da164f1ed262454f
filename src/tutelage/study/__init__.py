"""Studies: arms x seeds, and where they run."""

from tutelage.study.events import Event, Failed, SeedStopped, Warned
from tutelage.study.execution import Execution
from tutelage.study.files import Failure, StudyRecord, load_study, studies
from tutelage.study.run import run
from tutelage.study.spec import Study

__all__ = [
    "Event",
    "Execution",
    "Failed",
    "Failure",
    "SeedStopped",
    "Study",
    "StudyRecord",
    "Warned",
    "load_study",
    "run",
    "studies",
]
