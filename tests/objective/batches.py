"""Random batches to try objectives on."""

from __future__ import annotations

import torch

from tests.functional.inputs import random_labels, random_logits
from tutelage.functional import hash_ints
from tutelage.objective import Signals, TrainingSet


def batch(
    seed: int = 0, rows: int = 5, classes: int = 6, dtype: torch.dtype = torch.float64, spread: float = 3.0
) -> Signals:
    """A batch early in training, of a student that learns and a teacher that is often wrong, with a key a sample."""
    return Signals(
        student_logits=random_logits(seed, rows, classes, spread=spread).to(dtype).requires_grad_(),
        labels=random_labels(seed + 1, rows, classes),
        teacher_logits=random_logits(seed + 2, rows, classes, spread=spread).to(dtype),
        keys=hash_ints(seed, torch.arange(rows)),
        progress=0.04,
    )


def training_set(signals: Signals) -> TrainingSet:
    """A training set of this batch alone."""
    return TrainingSet(labels=signals.labels, num_classes=signals.num_classes, seed=0)
