"""Fit one model: the loop and its schedule."""

from tutelage.training.fit import NotFinite, Record, State, Teacher, fit
from tutelage.training.schedule import Cosine, Decay, Milestones, OneCycle, Schedule

__all__ = [
    "Cosine",
    "Decay",
    "Milestones",
    "NotFinite",
    "OneCycle",
    "Record",
    "Schedule",
    "State",
    "Teacher",
    "fit",
]
