"""What training a lineage reports, in plain values that cross between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tutelage.artifacts.model import Model

EpochMetrics = Mapping[str, float]
"""One line of ``metrics.jsonl``: the number of the epoch as ``epoch``, and what was measured in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRef:
    """Which model an event is about: generation ``place`` of ``generations`` in an arm (a lineage) at a seed."""

    arm: str
    seed: int
    place: int
    generations: int
    generation: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelEvent:
    """An event about one model.

    ``epochs`` are the metrics of the epochs that no event before it reported, in order; a training run that is
    resumed begins with those from before it stopped.
    """

    model: ModelRef
    epochs: tuple[EpochMetrics, ...] = ()

    @property
    def seed(self) -> int:
        """The seed of the lineage."""
        return self.model.seed

    @property
    def arm(self) -> str:
        """The name of the lineage."""
        return self.model.arm


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress(_ModelEvent):
    """A model is being trained: ``step`` of ``steps`` are done.

    ``images`` counts those trained on since this process began; ``epoch_ended`` is true after the last step of an
    epoch.
    """

    step: int
    steps: int
    images: int
    epoch_ended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring(_ModelEvent):
    """A model has been trained, and is being measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(_ModelEvent):
    """A model is trained, measured and stored: in ``seconds``, or by an earlier run where ``seconds`` is None.

    ``measures`` are the final ones by set and name (``test/top1``); ``at_chance`` says that the accuracy on the test
    set is not significantly above guessing.
    """

    measures: Mapping[str, float]
    at_chance: bool
    seconds: float | None


ModelEvent = TrainingProgress | Measuring | Finished


def finished(ref: ModelRef, model: Model, epochs: tuple[EpochMetrics, ...], seconds: float | None) -> Finished:
    """The event of a finished model, with the measures that are stored with it."""
    evaluation = model.evaluation()
    measures = {
        f"{part}/{name}": value
        for part, measured in evaluation.items()
        for name, value in measured.to_json().items()
        if isinstance(value, float)
    }
    return Finished(
        model=ref, epochs=epochs, measures=measures, at_chance=evaluation["test"].at_chance, seconds=seconds
    )
