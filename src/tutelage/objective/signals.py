"""What one batch offers to a loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor


class Prediction(NamedTuple):
    """What a network says of a batch: logits ``[B, K]``, and the features of the layers that were asked for."""

    logits: Tensor
    features: Mapping[str, Tensor]


def _feature(owner: str, features: Mapping[str, Tensor], layer: str) -> Tensor:
    if layer not in features:
        raise ValueError(f"the {owner} gave no features of layer {layer!r}, but of: {', '.join(features) or 'none'}")
    return features[layer]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signals:
    """One batch as its losses see it.

    Shapes: ``student_logits`` and ``teacher_logits`` ``[B, K]``; ``labels`` int64 ``[B]``; ``keys`` int64 ``[B]``, a
    random number for each sample and epoch, from which a loss that draws derives all it draws; ``progress`` the
    share of training done, in ``[0, 1]``, which losses that change over training need; features by module name.
    """

    student_logits: Tensor
    labels: Tensor
    teacher_logits: Tensor | None = None
    keys: Tensor | None = None
    progress: float | None = None
    student_features: Mapping[str, Tensor] = field(default_factory=dict)
    teacher_features: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """The number of classes of the student."""
        return self.student_logits.shape[1]

    def student_feature(self, layer: str) -> Tensor:
        """What a layer of the student put out.

        Errors: ``ValueError`` for a layer that was not tapped.
        """
        return _feature("student", self.student_features, layer)

    def teacher_feature(self, layer: str) -> Tensor:
        """What a layer of the teacher put out.

        Errors: ``ValueError`` for a layer that was not tapped.
        """
        return _feature("teacher", self.teacher_features, layer)

    def from_teacher(self) -> Tensor:
        """The teacher's logits ``[B, K]``.

        Errors: ``ValueError`` without a teacher, or where its classes are not the student's.
        """
        if self.teacher_logits is None:
            raise ValueError("this objective learns from a teacher, and there is none")
        if self.teacher_logits.shape != self.student_logits.shape:
            raise ValueError(
                f"teacher logits have shape {list(self.teacher_logits.shape)}, "
                f"student logits {list(self.student_logits.shape)}: both must be [batch, classes] of the same classes"
            )
        return self.teacher_logits
