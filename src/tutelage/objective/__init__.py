"""Signals, targets, scalars, terms, and the objective that is made of them."""

from tutelage.objective.combining import is_labels, is_plain_labels, rewrapped, same_but_weight
from tutelage.objective.connectors import Connected, pointwise
from tutelage.objective.expected import expected_primary, expected_scores
from tutelage.objective.features import (
    FeatureDistance,
    FeatureMatch,
    FlowMatch,
    Layers,
    LearnedDistance,
    layer_pairs,
    same_size,
)
from tutelage.objective.formula import distance_name, number, times
from tutelage.objective.objective import BoundObjective, Loss, Objective, beside_labels
from tutelage.objective.protocol import LogitTerm, Term, TermWrapper
from tutelage.objective.scalars import Constant, Ramp, Scalar, is_zero
from tutelage.objective.schedules import Scaled, crossfade
from tutelage.objective.signals import Prediction, Signals, TrainingSet
from tutelage.objective.targets import Labels, LogitTarget, Target, TeacherProbs, target_logits
from tutelage.objective.terms import ConfidencePenalty, Distance, Match, ScoreDifference, ScoreDifferenceByShare

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
    "LogitTarget",
    "LogitTerm",
    "Loss",
    "Match",
    "Objective",
    "Prediction",
    "Ramp",
    "Scalar",
    "Scaled",
    "ScoreDifference",
    "ScoreDifferenceByShare",
    "Signals",
    "Target",
    "TeacherProbs",
    "Term",
    "TermWrapper",
    "TrainingSet",
    "beside_labels",
    "crossfade",
    "distance_name",
    "expected_primary",
    "expected_scores",
    "is_labels",
    "is_plain_labels",
    "is_zero",
    "layer_pairs",
    "number",
    "pointwise",
    "rewrapped",
    "same_but_weight",
    "same_size",
    "target_logits",
    "times",
]
