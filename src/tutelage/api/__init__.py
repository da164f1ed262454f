"""What tutelage does, as Python functions: the command calls them too, and adds only parsing and printing.

- :func:`run` trains a recipe, :func:`study` compares several; both are built on :func:`execute`
- :func:`explain` describes what a recipe would train
- :func:`diagnose` and :func:`transfer` look closer at what was trained
- :func:`report` writes a page, :func:`export` writes a model to take away, :func:`predict` uses it

Seeds run in processes of their own, and a process imports the calling script: a script that trains must do so under
``if __name__ == "__main__"``, or ask for ``processes=1``.
"""

from tutelage.api.analysis import Progress, diagnose, explain, transfer
from tutelage.api.files import Prediction, export, predict, report
from tutelage.api.training import execute, run, study

__all__ = [
    "Prediction",
    "Progress",
    "diagnose",
    "execute",
    "explain",
    "export",
    "predict",
    "report",
    "run",
    "study",
    "transfer",
]
