"""What a loss sees of one batch, and what it may know of the whole training set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor


class Prediction(NamedTuple):
    """A network's output for a batch: logits ``[B, K]``, and the features of the requested layers by name."""

    logits: Tensor
    features: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSet:
    """What is known of the training data where a term is built for it.

    Shapes: ``labels`` int64 ``[N]``, in the order of the rows; ``num_classes`` the number of classes K; ``seed`` a
    number of this training run, from which a term derives whatever it draws for the data set as a whole.
    """

    labels: Tensor
    num_classes: int
    seed: int


def _feature(owner: str, features: Mapping[str, Tensor], layer: str) -> Tensor:
    if layer not in features:
        raise ValueError(f"no features of the {owner}'s layer {layer!r}, only of: {', '.join(features) or 'none'}")
    return features[layer]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signals:
    """One batch as its losses see it.

    Shapes: ``student_logits`` and ``teacher_logits`` ``[B, K]``; ``labels`` int64 ``[B]``; ``rows`` int64 ``[B]``,
    the row of each sample in the training set; ``keys`` int64 ``[B]``, a random number for each sample and epoch,
    from which a loss derives everything it draws; ``progress`` the share of training done, in ``[0, 1]``, for losses
    that change over training; features by module name. What is None or missing is an error only for a loss that
    reads it.
    """

    student_logits: Tensor
    labels: Tensor
    teacher_logits: Tensor | None = None
    rows: Tensor | None = None
    keys: Tensor | None = None
    progress: float | None = None
    student_features: Mapping[str, Tensor] = field(default_factory=dict)
    teacher_features: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """The number of classes of the student."""
        return self.student_logits.shape[1]

    def student_feature(self, layer: str) -> Tensor:
        """The output of one layer of the student.

        Errors: ``ValueError`` for a layer whose features are not part of the signals.
        """
        return _feature("student", self.student_features, layer)

    def teacher_feature(self, layer: str) -> Tensor:
        """The output of one layer of the teacher.

        Errors: ``ValueError`` for a layer whose features are not part of the signals.
        """
        return _feature("teacher", self.teacher_features, layer)

    def from_teacher(self) -> Tensor:
        """The teacher's logits ``[B, K]``.

        Errors: ``ValueError`` without a teacher, or if its classes are not the student's.
        """
        if self.teacher_logits is None:
            raise ValueError("this objective learns from a teacher, and there is none")
        if self.teacher_logits.shape != self.student_logits.shape:
            raise ValueError(
                f"teacher logits have shape {list(self.teacher_logits.shape)}, "
                f"student logits {list(self.student_logits.shape)}: both must be [batch, classes] of the same classes"
            )
        return self.teacher_logits
