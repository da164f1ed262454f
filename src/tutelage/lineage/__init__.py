"""Lineages: generations in order as data, and the loop that trains them."""

from tutelage.lineage.addresses import addresses, models_of
from tutelage.lineage.checkpoints import Stopped
from tutelage.lineage.dry_run import dry_run, first_gradient_shares
from tutelage.lineage.events import Finished, Measuring, ModelEvent, ModelRef, TrainingProgress
from tutelage.lineage.networks import LineageNetworks
from tutelage.lineage.options import TeacherStore, TrainOptions
from tutelage.lineage.origins import Origins, read_origins
from tutelage.lineage.pace import Pace, measured_paces
from tutelage.lineage.spec import Generation, Lineage, expected_scores
from tutelage.lineage.train import networks_of, train

__all__ = [
    "Finished",
    "Generation",
    "Lineage",
    "LineageNetworks",
    "Measuring",
    "ModelEvent",
    "ModelRef",
    "Origins",
    "Pace",
    "Stopped",
    "TeacherStore",
    "TrainOptions",
    "TrainingProgress",
    "addresses",
    "dry_run",
    "expected_scores",
    "first_gradient_shares",
    "measured_paces",
    "models_of",
    "networks_of",
    "read_origins",
    "train",
]
