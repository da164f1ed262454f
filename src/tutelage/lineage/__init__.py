"""Lineages: generations in order as data, and the loop that trains them."""

from tutelage.artifacts.model import Model
from tutelage.lineage.addresses import models_of
from tutelage.lineage.generation_trainer import Progress, Stopped
from tutelage.lineage.networks import LineageNetworks, TeacherStore
from tutelage.lineage.spec import Generation, Lineage, expected_scores
from tutelage.lineage.train import rehearse, train

__all__ = [
    "Generation",
    "Lineage",
    "LineageNetworks",
    "Model",
    "Progress",
    "Stopped",
    "TeacherStore",
    "expected_scores",
    "models_of",
    "rehearse",
    "train",
]
