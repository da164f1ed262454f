"""How much of a study is left, and how long that takes."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from tutelage.data import DataConfig
from tutelage.serialization import digest
from tutelage.study import Event, Study

Kind = tuple[DataConfig, str, tuple[str, ...]]
"""What decides how fast a generation trains: its data, its network, its teachers'."""


@dataclass(frozen=True, slots=True)
class _Model:
    """One model of a seed; arms that share it have it once."""

    kind: Kind
    epochs: int
    batch: int


class Work:
    """The models of a study, how fast each kind of them trains, and what is left of them.

    A model's work is the images it is shown. A kind that has not been measured yet is taken to be as fast as the mean
    of those that have been; measuring, loading and saving are left out. So the time left is a rough one.
    """

    def __init__(self, study: Study, processes: int) -> None:
        self.processes = processes
        self.models_of: dict[str, list[str]] = {}  # arm -> its models' keys, which equal generations share
        self.kinds: dict[str, _Model] = {}
        for lineage in study.lineages:
            keys = lineage.addresses(0, digest(lineage.data), "")
            self.models_of[lineage.name] = list(keys)
            for key, generation in zip(keys, lineage.generations, strict=True):
                teachers = tuple(lineage.generations[place].model for place in generation.teachers)
                epochs = 0 if generation.weights is not None else generation.schedule.epochs
                kind = (lineage.data, generation.model, teachers)
                self.kinds[key] = _Model(kind, epochs, generation.schedule.batch_size)
        self.done: dict[int, set[str]] = {seed: set() for seed in study.seeds}
        self.failed: dict[int, set[str]] = {seed: set() for seed in study.seeds}
        self.training: dict[int, tuple[str, float]] = {}  # seed -> its model, and the share of it that is done
        self.sizes: dict[DataConfig, float] = {}  # images an epoch
        self.spent: dict[Kind, tuple[float, int]] = {}  # seconds and images
        self.heard: dict[int, tuple[str, float, int]] = {}  # seed -> its model, when, and at how many images

    def tell(self, event: Event, now: float) -> None:
        """Take in an event that came ``now``."""
        if event.phase == "failed":
            self.failed[event.seed].update([event.lineage] if event.lineage else self.models_of)
            self.training.pop(event.seed, None)
        if event.lineage not in self.models_of or not event.generations:
            return
        key = self.models_of[event.lineage][event.place]
        model = self.kinds[key]
        if event.phase in ("kept", "finished"):
            self.done[event.seed].add(key)
            self.training.pop(event.seed, None)
            self.heard.pop(event.seed, None)
        elif event.phase == "training":
            self.sizes[model.kind[0]] = event.steps * model.batch / max(1, model.epochs)
            self.training[event.seed] = (key, event.step / max(1, event.steps))
            before = self.heard.get(event.seed)
            if before is not None and before[0] == key:
                seconds, images = self.spent.get(model.kind, (0.0, 0))
                self.spent[model.kind] = (seconds + now - before[1], images + event.images - before[2])
            self.heard[event.seed] = (key, now, event.images)

    def models(self) -> tuple[int, int]:
        """How many models are done, of how many."""
        return sum(map(len, self.done.values())), len(self.kinds) * len(self.done)

    def share(self) -> float:
        """The share of all work that is done, as time where that is known; failed arms are no work."""
        whole = self._whole()
        left = sum(self._left(seed, whole) for seed in self.done)
        done = sum(whole[key] for keys in self.done.values() for key in keys)
        done += sum(share * whole[key] for key, share in self.training.values())
        return done / (done + left) if done else 0.0

    def left(self) -> float | None:
        """Seconds until the last seed is done, None while nothing has been measured."""
        if not any(images for _, images in self.spent.values()):
            return None
        whole = self._whole()
        times = [(seed in self.training, self._left(seed, whole)) for seed in self.done]
        free = [0.0] * self.processes  # when each process is free
        for _, seconds in sorted(times, key=lambda pair: -pair[0]):  # those under way first
            heapq.heappush(free, heapq.heappop(free) + seconds)
        return max(free)

    def _left(self, seed: int, whole: dict[str, float]) -> float:
        wanted = {key for arm, keys in self.models_of.items() if arm not in self.failed[seed] for key in keys}
        left = sum(whole[key] for key in wanted - self.done[seed])
        key, share = self.training.get(seed, ("", 0.0))
        return left - share * whole[key] if key in wanted else left

    def _whole(self) -> dict[str, float]:
        """What each model takes from first to last: seconds, or images as long as none has been measured."""
        size = sum(self.sizes.values()) / len(self.sizes) if self.sizes else 1.0
        paces = {kind: seconds / images for kind, (seconds, images) in self.spent.items() if images}
        pace = sum(paces.values()) / len(paces) if paces else 1.0
        return {
            key: model.epochs * self.sizes.get(model.kind[0], size) * paces.get(model.kind, pace)
            for key, model in self.kinds.items()
        }
