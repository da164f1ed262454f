"""Train one generation: continue where it stands, save as it goes, measure what came of it, keep that."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from tutelage import serialization, storage
from tutelage.artifacts.environment import changed, origin, surroundings
from tutelage.artifacts.model import Model
from tutelage.artifacts.pretrained import described
from tutelage.data import BatchLoader, Dataset, Splits
from tutelage.engine import Engine
from tutelage.evaluation import accuracy, measure, predict
from tutelage.lineage.networks import LineageNetworks, TeacherStore
from tutelage.lineage.spec import Generation, Lineage, generation_seed
from tutelage.training import NotFinite, Record, State, fit
from tutelage.validation import checked, parse_json


class Stopped(Exception):
    """Training was asked to stop and did, at a moment it can continue from."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Progress:
    """What training a lineage tells: which generation it is at, and how far.

    ``phase`` is ``kept`` (found finished), ``training``, ``measuring`` or ``finished``. ``lines`` are the epochs'
    measures that no progress before it told, in order; a training that continues begins with those before the stop.
    """

    place: int
    generation: Generation
    model: Model
    phase: str
    record: Record | None = None
    seconds: float = 0.0
    lines: tuple[dict[str, float], ...] = ()


class Habits(NamedTuple):
    """What the caller wants of a training beside its result."""

    should_stop: Callable[[], bool]
    warn: Callable[[str], None]
    checkpoint_seconds: float
    watch_test: bool
    meter: bool
    teacher_store: TeacherStore
    stores: Path
    strict: bool


class Job:
    """The training of one generation, in its locked folder."""

    def __init__(
        self,
        lineage: Lineage,
        place: int,
        models: tuple[Model, ...],
        seed: int,
        splits: Splits,
        engine: Engine,
        habits: Habits,
        still_there: Callable[[], None],
    ) -> None:
        self.lineage, self.place, self.models, self.splits, self.engine = lineage, place, models, splits, engine
        self.generation, self.model, self.habits = lineage.generations[place], models[place], habits
        self.seed, self.lineage_seed = generation_seed(seed, place), seed
        self.still_there = still_there  # raises where the locked folder is gone
        self.saved = -1  # the step of the newest checkpoint
        self.classroom = LineageNetworks(lineage, models, seed, splits, engine)
        self.normalization = self.classroom.normalization(place)
        self.history: list[dict[str, float]] = []
        self.told = 0  # lines of it
        self.continued: list[dict[str, Any]] = []  # from which steps on in other surroundings, and in which
        self.watched = {"test": splits.test} if habits.watch_test else {}
        if splits.holdout is not None:
            self.watched["holdout"] = splits.holdout

    def run(self) -> Iterator[Progress]:
        """Train it, or take its weights as they are given; errors as of :func:`tutelage.lineage.train`."""
        if self.generation.weights is not None:
            yield from self._take(Path(self.generation.weights))
            return
        began = saved = time.monotonic()
        network = self.classroom.network(self.place)
        data = BatchLoader(
            self.splits.train, self.lineage.views, self.generation.schedule.batch_size, self.engine.device
        )
        before = self._resume()
        if before is not None and self._unwatched(before.step / len(data)):
            network.load_state_dict(_network(before))
            self._watch(network, lambda: before)
        images, record = 0, None
        habits = self.habits
        with self.classroom.asked_once(self.place, data, habits.stores, habits.teacher_store, habits.warn) as teacher:
            for record in fit(
                network,
                data,
                self.generation.objective,
                self.generation.schedule,
                normalization=self.normalization,
                seed=self.seed,
                engine=self.engine,
                teacher=teacher,
                state=before,
                meter=habits.meter,
            ):
                images = record.images
                if record.metrics is not None:
                    self.history.append(dict(record.metrics))
                    self._watch(network, record.state)
                yield self._tell("training", record)
                stop = habits.should_stop()
                if stop or time.monotonic() - saved > habits.checkpoint_seconds:
                    self._save(record.state())
                    saved = time.monotonic()
                if stop:
                    raise Stopped(f"{self.generation.name} stopped at step {record.step} of {record.steps}")
        seconds = time.monotonic() - began
        yield self._tell("measuring", record)
        final = record.state() if record is not None else before
        assert final is not None
        files = self._measure(network, final)
        self.still_there()
        speed = {"images_per_second": round(images / seconds, 1), "images": images}
        note = {**surroundings(self.engine), **origin(), **speed}
        if self.continued:
            note["continued"] = self.continued
        storage.commit(self.model.folder, files, note)
        storage.remove(self.model.folder / "checkpoints")
        yield self._tell("finished", record, time.monotonic() - began)

    def _take(self, weights: Path) -> Iterator[Progress]:
        """Measure a network whose weights are given, and keep it like one that was trained."""
        network = self.classroom.network(self.place)
        yield self._tell("measuring", None)
        tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
        files = self._measure(network, State(step=0, tensors=tensors))
        self.still_there()
        known = "named" if described(str(weights)) is not None else "not named: taken to be the data's, in its order"
        note = {**surroundings(self.engine), **origin(), "weights": weights.name, "classes": known}
        storage.commit(self.model.folder, files, note)
        yield self._tell("finished", None)

    def _tell(self, phase: str, record: Record | None, seconds: float = 0.0) -> Progress:
        lines, self.told = tuple(self.history[self.told :]), len(self.history)
        return Progress(
            place=self.place,
            generation=self.generation,
            model=self.model,
            phase=phase,
            record=record,
            seconds=seconds,
            lines=lines,
        )

    def _resume(self) -> State | None:
        checkpoint = storage.newest_checkpoint(self.model.folder, self.habits.warn)
        if checkpoint is None:
            return None
        history, found = (
            parse_json(storage.read_listed(checkpoint.folder, name), str(checkpoint.folder / name))
            for name in ("history.json", "surroundings.json")
        )
        try:
            self.history = [dict(line) for line in checked(history, tuple[Mapping[str, Any], ...], "history")]
            self.continued = list(checked(found.get("continued", []), tuple[Mapping[str, Any], ...], "continued"))
        except (ValueError, AttributeError) as error:
            raise storage.Damaged(f"{checkpoint.folder} is not a checkpoint: {error}") from None
        if differs := changed(found, surroundings(self.engine)):
            told = ", ".join(f"{name} was {before}, now {now}" for name, (before, now) in differs.items())
            if self.habits.strict:
                raise ValueError(
                    f"{self.generation.name} stands at step {checkpoint.step} and would not continue bit for bit: "
                    f"{told}. Go on as before or without strict, or delete {self.model.folder} to begin again"
                )
            self.habits.warn(f"{self.generation.name}: {told}: not bit-exact from here")
            self.continued.append({"step": checkpoint.step, **differs})
        self.saved = checkpoint.step
        path = checkpoint.folder / "state.safetensors"
        tensors = storage.tensors_in(storage.read_listed(path.parent, path.name), str(path))
        return State(step=checkpoint.step, tensors=tensors)

    def _save(self, state: State) -> None:
        if state.step == self.saved:
            return
        self.still_there()
        files = {
            "state.safetensors": storage.tensor_bytes(state.tensors),
            "history.json": storage.json_bytes(self.history),
            "surroundings.json": storage.json_bytes({**surroundings(self.engine), "continued": self.continued}),
        }
        storage.save_checkpoint(self.model.folder, state.step, files)
        self.saved = state.step

    def _unwatched(self, epochs: float) -> bool:
        """Whether a stop came while the sets were measured that are watched after each of so many epochs."""
        if not self.history or self.history[-1]["epoch"] != epochs:
            return False
        return any(f"{name}/top1" not in self.history[-1] for name in self.watched)

    def _watch(self, network: nn.Module, state: Callable[[], State]) -> None:
        """Add to an epoch's line what the network gives now on the sets that are watched."""
        for name, data in self.watched.items():
            logits = self._predict(network, data, state)
            self.history[-1][f"{name}/top1"] = accuracy(logits, data.labels)

    def _predict(self, network: nn.Module, data: Dataset, state: Callable[[], State]) -> Tensor:
        """Run the network over a set; a stop meanwhile saves the moment, unless its weights were given."""

        def pulse() -> None:
            if self.habits.should_stop():
                if self.generation.weights is None:
                    self._save(state())
                raise Stopped(f"{self.generation.name} stopped while it was measured")

        return predict(network, data.images, self.normalization, self.engine, pulse=pulse)

    def _measure(self, network: nn.Module, final: State) -> dict[str, bytes]:
        def run(data: Dataset) -> Tensor:
            logits = self._predict(network, data, lambda: final)
            if not logits.isfinite().all():
                raise NotFinite(f"{self.generation.name}: the trained network gives scores that are not finite")
            return logits

        sets = {"test": self.splits.test, "holdout": self.splits.holdout}
        kept: dict[str, Tensor] = {}
        evaluation = {"train": measure(run(self.splits.train), self.splits.train.labels)}
        for name, data in sets.items():
            if data is not None:
                kept[name], kept[f"{name}_labels"] = run(data), data.labels
                evaluation[name] = measure(kept[name], data.labels)
        facts = self.splits.facts
        made_of = {
            "place": self.place,
            "lineage_seed": self.lineage_seed,
            "seed": self.seed,
            "lineage": serialization.to_json(self.lineage),
            "data_fingerprint": self.splits.fingerprint,
            "normalization": serialization.to_json(self.normalization),
            "input": [facts.channels, facts.height, facts.width],
            "class_names": list(facts.class_names),
            "precision": self.engine.precision,
            "teachers": [self.models[place].address for place in self.generation.teachers],
        }
        return {
            "config.json": storage.json_bytes(made_of),
            "metrics.jsonl": "".join(json.dumps(line, sort_keys=True) + "\n" for line in self.history).encode(),
            "weights.safetensors": storage.tensor_bytes(_network(final)),
            "predictions.safetensors": storage.tensor_bytes(kept),
            "evaluation.json": storage.json_bytes(evaluation),
        }


def _network(state: State) -> dict[str, Tensor]:
    return {n.removeprefix("network/"): value for n, value in state.tensors.items() if n.startswith("network/")}
