"""Measure one model."""

from tutelage.evaluation.metrics import accuracy, at_chance, ece, energy, ensemble, measure, nll, primary_score
from tutelage.evaluation.predict import predict

__all__ = ["accuracy", "at_chance", "ece", "energy", "ensemble", "measure", "nll", "predict", "primary_score"]
