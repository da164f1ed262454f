"""What one batch offers to a loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signals:
    """One batch as its losses see it.

    Shapes: ``student_logits`` and ``teacher_logits`` ``[B, K]``; ``labels`` int64 ``[B]``; ``keys`` int64 ``[B]``, a
    random number for each sample and epoch, from which a loss that draws derives all it draws; ``progress`` the
    share of training done, in ``[0, 1]``; features by module name.
    """

    student_logits: Tensor
    labels: Tensor
    teacher_logits: Tensor | None = None
    keys: Tensor | None = None
    progress: float = 0.0
    student_features: Mapping[str, Tensor] = field(default_factory=dict)
    teacher_features: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """The number of classes of the student."""
        return self.student_logits.shape[1]

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
