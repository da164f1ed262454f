"""Signals, targets, scalars, terms and the objective they make."""

from tutelage.objective.connectors import Connected, pointwise
from tutelage.objective.expected import expected_primary
from tutelage.objective.features import (
    FeatureDistance,
    FeatureMatch,
    FlowMatch,
    Layers,
    LearnedDistance,
    layer_pairs,
    same_size,
)
from tutelage.objective.objective import BoundObjective, Loss, Objective, beside_labels
from tutelage.objective.schedules import Ramp, Scaled, crossfade
from tutelage.objective.signals import Prediction, Signals
from tutelage.objective.targets import Constant, Labels, Scalar, Target, TeacherProbs, number
from tutelage.objective.terms import ConfidencePenalty, Distance, Match, ScoreDifference, Term

__all__ = [
    "BoundObjective",
    "ConfidencePenalty",
    "Connected",
    "Constant",
    "Distance",
    "FeatureDistance",
    "FeatureMatch",
    "FlowMatch",
    "Labels",
    "Layers",
    "LearnedDistance",
    "Loss",
    "Match",
    "Objective",
    "Prediction",
    "Ramp",
    "Scalar",
    "Scaled",
    "ScoreDifference",
    "Signals",
    "Target",
    "TeacherProbs",
    "Term",
    "beside_labels",
    "crossfade",
    "expected_primary",
    "layer_pairs",
    "number",
    "pointwise",
    "same_size",
]
