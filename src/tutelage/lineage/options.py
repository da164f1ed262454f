"""How models are trained beside what they are: nothing here changes what a model learns."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

TeacherStore = Literal["off", "on", "auto"]
"""Whether a teacher's logits are kept on disk and read again; ``auto``: where its students see enough views twice."""

CHECKPOINT_SECONDS = float(os.environ.get("TUTELAGE_CHECKPOINT_SECONDS", "30"))
"""The most training time that a kill may cost, by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """How a training run goes about its work; made once where a request enters, and passed whole.

    Args:
        watch_test: Measure the test set after every epoch too; nothing is chosen by it, and the table says so.
        meter: Record each term's share of the gradient norm once per epoch.
        teacher_store: Keep a teacher's logits on disk and read them again as they were computed; auto does so
            where it pays. The bits are those of an online teacher as far as its answers do not depend on the rest of
            a batch.
        strict: Refuse to resume in a different environment or on different data. Without it, the change is reported
            and recorded in the model.
        checkpoint_seconds: The most training time that a kill may cost.
    """

    watch_test: bool = False
    meter: bool = False
    teacher_store: TeacherStore = "off"
    strict: bool = False
    checkpoint_seconds: float = CHECKPOINT_SECONDS
