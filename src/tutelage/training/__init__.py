"""Train one model: the loop and its schedule."""

from tutelage.training.fit import Record, fit
from tutelage.training.forward import DistillationForward, Teacher, gradient_shares
from tutelage.training.schedule import Cosine, Decay, Milestones, OneCycle, Schedule
from tutelage.training.state import NotFinite, State
from tutelage.training.warm_up import WarmUp

__all__ = [
    "Cosine",
    "Decay",
    "DistillationForward",
    "Milestones",
    "NotFinite",
    "OneCycle",
    "Record",
    "Schedule",
    "State",
    "Teacher",
    "WarmUp",
    "fit",
    "gradient_shares",
]
