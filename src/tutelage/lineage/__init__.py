"""Lineages: generations in order as data, and the loop that trains them."""

from tutelage.lineage.classroom import Classroom, TeacherStore
from tutelage.lineage.job import Progress, Stopped
from tutelage.lineage.model import Model, models_of
from tutelage.lineage.train import rehearse, train
from tutelage.lineage.values import Generation, Lineage, expected_scores

__all__ = [
    "Classroom",
    "Generation",
    "Lineage",
    "Model",
    "Progress",
    "Stopped",
    "TeacherStore",
    "expected_scores",
    "models_of",
    "rehearse",
    "train",
]
