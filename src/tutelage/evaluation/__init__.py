"""Measure one model, from its logits and features."""

from tutelage.evaluation.metrics import (
    Measures,
    accuracy,
    at_chance,
    ece,
    energy,
    ensemble,
    measure,
    nll,
    primary_score,
)
from tutelage.evaluation.predict import predict

__all__ = [
    "Measures",
    "accuracy",
    "at_chance",
    "ece",
    "energy",
    "ensemble",
    "measure",
    "nll",
    "predict",
    "primary_score",
]
