"""Lineages: generations in order as data, and the loop that trains them."""

from tutelage.lineage.train import Model, Progress, Stopped, models_of, train
from tutelage.lineage.values import Generation, Lineage, expected_scores

__all__ = ["Generation", "Lineage", "Model", "Progress", "Stopped", "expected_scores", "models_of", "train"]
