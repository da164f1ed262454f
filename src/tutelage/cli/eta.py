"""Estimate how much of a study is done, and how long the rest takes."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from tutelage.data import DataConfig
from tutelage.lineage import Finished, TrainingProgress, addresses
from tutelage.serialization import digest
from tutelage.study import Event, Failed, Study


@dataclass(frozen=True, slots=True)
class Kind:
    """What decides how fast a model trains: its data, its network, and the networks of its teachers."""

    data: DataConfig
    network: str
    teachers: tuple[str, ...]


@dataclass(slots=True)
class Pace:
    """What training models of one kind took so far."""

    seconds: float = 0.0
    images: int = 0


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model that every seed needs once, however many arms share it; pretrained ones take no epochs."""

    kind: Kind
    epochs: int
    batch_size: int


@dataclass(slots=True)
class Training:
    """The model that a seed trains: the share of it that is done, and the last report of its images."""

    key: str
    share: float
    reported_at: float
    images: int


@dataclass(slots=True)
class SeedWork:
    """What a seed has done: the keys of its finished models, its failed arms, and the model it trains."""

    finished: set[str] = field(default_factory=set)
    failed_arms: set[str] = field(default_factory=set)
    training: Training | None = None


class WorkEstimate:
    """The models of a study, how fast each kind of them trains, and what remains to be done.

    The work of a model is the number of images it is shown. A kind that has not been measured yet counts as fast as
    the mean of those that have been. Measuring, loading and saving are left out, so the time that remains is a rough
    estimate.
    """

    def __init__(self, study: Study, processes: int) -> None:
        self.processes = processes
        self.arms: dict[str, tuple[str, ...]] = {}  # the keys of their models; equal generations have one key
        self.models: dict[str, PlannedModel] = {}
        for lineage in study.lineages:
            keys = addresses(lineage, 0, digest(lineage.data), "")
            self.arms[lineage.name] = keys
            for key, generation in zip(keys, lineage.generations, strict=True):
                teachers = tuple(lineage.generations[place].model for place in generation.teachers)
                self.models[key] = PlannedModel(
                    kind=Kind(lineage.data, generation.model, teachers),
                    epochs=0 if generation.weights is not None else generation.schedule.epochs,
                    batch_size=generation.schedule.batch_size,
                )
        self.seeds = {seed: SeedWork() for seed in study.seeds}
        self.epoch_images: dict[DataConfig, float] = {}
        self.paces: dict[Kind, Pace] = {}

    def update(self, event: Event, now: float) -> None:
        """Take in an event that arrived at the time ``now``, in seconds."""
        seed = self.seeds[event.seed]
        match event:
            case Failed():
                seed.failed_arms.update([event.arm] if event.arm else self.arms)
                seed.training = None
            case Finished():
                seed.finished.add(self._key(event))
                seed.training = None
            case TrainingProgress():
                self._update_training(event, seed, now)

    def _update_training(self, event: TrainingProgress, seed: SeedWork, now: float) -> None:
        key = self._key(event)
        model, before = self.models[key], seed.training
        self.epoch_images[model.kind.data] = event.steps * model.batch_size / max(1, model.epochs)
        if before is not None and before.key == key:
            pace = self.paces.setdefault(model.kind, Pace())
            pace.seconds += now - before.reported_at
            pace.images += event.images - before.images
        seed.training = Training(key, event.step / max(1, event.steps), now, event.images)

    def _key(self, event: Finished | TrainingProgress) -> str:
        return self.arms[event.arm][event.model.place]

    def count(self) -> tuple[int, int]:
        """The number of finished models, and of all."""
        finished = sum(len(seed.finished) for seed in self.seeds.values())
        return finished, len(self.models) * len(self.seeds)

    def share_done(self) -> float:
        """The share of the work that is done, in time where that is known; failed arms are not counted."""
        costs = self._costs()
        remaining = sum(self._remaining(seed, costs) for seed in self.seeds.values())
        done = sum(costs[key] for seed in self.seeds.values() for key in seed.finished)
        active = [seed.training for seed in self.seeds.values() if seed.training is not None]
        done += sum(training.share * costs[training.key] for training in active)
        return done / (done + remaining) if done else 0.0

    def seconds_remaining(self) -> float | None:
        """Seconds until the last seed is done; None while nothing has been measured."""
        if not any(pace.images for pace in self.paces.values()):
            return None
        costs = self._costs()
        active_first = sorted(self.seeds.values(), key=lambda seed: seed.training is None)
        free_at = [0.0] * self.processes
        for seed in active_first:  # each goes to the process that is free first
            heapq.heappush(free_at, heapq.heappop(free_at) + self._remaining(seed, costs))
        return max(free_at)

    def _remaining(self, seed: SeedWork, costs: Mapping[str, float]) -> float:
        planned: Set[str] = {key for arm, keys in self.arms.items() if arm not in seed.failed_arms for key in keys}
        remaining = sum(costs[key] for key in planned - seed.finished)
        if seed.training is not None and seed.training.key in planned:
            remaining -= seed.training.share * costs[seed.training.key]
        return remaining

    def _costs(self) -> dict[str, float]:
        """What each model takes from first to last: seconds, or images while nothing has been measured."""
        sizes = self.epoch_images
        mean_size = sum(sizes.values()) / len(sizes) if sizes else 1.0
        paces = {kind: pace.seconds / pace.images for kind, pace in self.paces.items() if pace.images}
        mean_pace = sum(paces.values()) / len(paces) if paces else 1.0
        return {
            key: model.epochs * sizes.get(model.kind.data, mean_size) * paces.get(model.kind, mean_pace)
            for key, model in self.models.items()
        }
