"""Signals, targets, scalars, terms and the objective they make."""

from tutelage.objective.expected import expected_primary
from tutelage.objective.objective import Loss, Objective, beside_labels
from tutelage.objective.parts import Constant, Labels, Scalar, Target, TeacherProbs, number
from tutelage.objective.signals import Signals
from tutelage.objective.terms import ConfidencePenalty, Distance, Match, ScoreDifference, Term

__all__ = [
    "ConfidencePenalty",
    "Constant",
    "Distance",
    "Labels",
    "Loss",
    "Match",
    "Objective",
    "Scalar",
    "ScoreDifference",
    "Signals",
    "Target",
    "TeacherProbs",
    "Term",
    "beside_labels",
    "expected_primary",
    "number",
]
