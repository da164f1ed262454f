"""Train one generation: resume it where it stopped, save as it goes, measure the result, store it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tutelage import serialization, storage
from tutelage.artifacts.config import CONFIG, model_address
from tutelage.artifacts.environment import build_info, environment
from tutelage.artifacts.pretrained import WEIGHTS, read_metadata
from tutelage.data import BatchLoader, Dataset
from tutelage.evaluation import accuracy, measure, predict
from tutelage.lineage.addresses import dependencies, generation_seed
from tutelage.lineage.checkpoints import Callbacks, Checkpoints, Stopped
from tutelage.lineage.events import Finished, Measuring, ModelEvent, TrainingProgress, finished
from tutelage.lineage.networks import LineageNetworks
from tutelage.lineage.options import TrainOptions
from tutelage.lineage.teacher_cache import cached_teacher
from tutelage.models.weights import fit_weights
from tutelage.training import NotFinite, Record, State, fit


class GenerationTrainer:
    """The training of one generation, in the locked folder of its model."""

    def __init__(
        self, networks: LineageNetworks, place: int, options: TrainOptions, callbacks: Callbacks, stores: Path
    ) -> None:
        self.networks, self.place, self.options, self.callbacks = networks, place, options, callbacks
        self.stores = stores
        self.generation, self.model = networks.generation(place), networks.models[place]
        self.normalization, self.dependencies = networks.normalization(place), dependencies(self.generation)
        self.checkpoints = Checkpoints(self.generation.name, self.model, networks.engine, options, callbacks)
        self.history = self.checkpoints.history
        self.reported = 0  # epochs of the history that events have reported
        splits = networks.splits
        self.watched = {"test": splits.test} if options.watch_test else {}
        if splits.holdout is not None:
            self.watched["holdout"] = splits.holdout

    def run(self) -> Iterator[ModelEvent]:
        """Train it, or only measure it where its weights are pretrained.

        Errors: those of :func:`tutelage.lineage.train`.
        """
        self._check_address()
        if self.generation.weights is not None:
            yield from self._measure_pretrained(Path(self.generation.weights))
            return
        start = time.monotonic()
        networks = self.networks
        network = networks.build(self.place)
        batch_size = self.generation.schedule.batch_size
        data = BatchLoader(networks.splits.train, networks.lineage.views, batch_size, networks.engine.device)
        resumed = self.checkpoints.resume()
        if resumed is not None and self._lacks_watched(resumed.step / len(data)):
            fit_weights(network, _network_tensors(resumed), resumed.source)
            self._watch(network, lambda: resumed)
        images, final = 0, resumed
        for record in self._fit(network, data, resumed):
            images = record.images
            yield self._progress(record)
            final = self._save_when_due(record)
        seconds = time.monotonic() - start
        yield Measuring(model=self.networks.ref(self.place), epochs=self._new_epochs())
        assert final is not None
        files = self._files(network, final)
        self.callbacks.ensure_folder()
        note: dict[str, Any] = {"images_per_second": round(images / seconds, 1), "images": images}
        if self.checkpoints.continued:
            note["continued"] = self.checkpoints.continued
        self._commit(files, note)
        storage.remove(self.model.folder / "checkpoints")
        for parameter in network.parameters():
            parameter.grad = None
        networks.keep(self.place, network)
        yield self._finished(time.monotonic() - start)

    def _fit(self, network: nn.Module, data: BatchLoader, resumed: State | None) -> Iterator[Record]:
        with cached_teacher(
            self.networks, self.place, data, self.stores, self.options.teacher_store, self.callbacks.warn
        ) as teacher:
            for record in fit(
                network,
                data,
                self.generation.objective,
                self.generation.schedule,
                normalization=self.normalization,
                seed=generation_seed(self.networks.seed, self.place),
                engine=self.networks.engine,
                teacher=teacher,
                state=resumed,
                meter=self.options.meter,
            ):
                if record.metrics is not None:
                    self.history.append(dict(record.metrics))
                    self._watch(network, record.state)
                yield record

    def _measure_pretrained(self, weights: Path) -> Iterator[ModelEvent]:
        """Measure a network with pretrained weights, and store it like one that was trained."""
        start = time.monotonic()
        network = self.networks.build(self.place)
        yield Measuring(model=self.networks.ref(self.place))
        tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
        files = self._files(network, State(step=0, tensors=tensors))
        self.callbacks.ensure_folder()
        known = read_metadata(str(weights)) is not None
        classes = "named" if known else "not named: assumed to be the data's, in its order"
        self._commit(files, {"weights": weights.name, "classes": classes})
        yield self._finished(time.monotonic() - start)

    def _commit(self, files: dict[str, bytes], note: dict[str, Any]) -> None:
        storage.commit(self.model.folder, files, {**environment(self.networks.engine), **build_info(), **note})

    def _progress(self, record: Record) -> TrainingProgress:
        return TrainingProgress(
            model=self.networks.ref(self.place),
            epochs=self._new_epochs(),
            step=record.step,
            steps=record.steps,
            images=record.images,
            epoch_ended=record.metrics is not None,
        )

    def _finished(self, seconds: float) -> Finished:
        return finished(self.networks.ref(self.place), self.model, self._new_epochs(), seconds)

    def _new_epochs(self) -> tuple[dict[str, float], ...]:
        epochs, self.reported = tuple(self.history[self.reported :]), len(self.history)
        return epochs

    def _save_when_due(self, record: Record) -> State | None:
        """Save where it is time to, or where a stop is asked for; returns the state after the last step.

        Errors: :class:`Stopped`, once the state is saved.
        """
        stop = self.callbacks.should_stop()
        if stop or self.checkpoints.due():
            self.checkpoints.save(record.state())
        if stop:
            raise Stopped(f"{self.generation.name} stopped at step {record.step} of {record.steps}")
        return record.state() if record.step == record.steps else None

    def _lacks_watched(self, epochs: float) -> bool:
        """Whether the run stopped while the watched sets were measured after this many epochs."""
        if not self.history or self.history[-1]["epoch"] != epochs:
            return False
        return any(f"{name}/top1" not in self.history[-1] for name in self.watched)

    def _watch(self, network: nn.Module, state: Callable[[], State]) -> None:
        """Add the accuracy on the watched sets to the metrics of the last epoch."""
        for name, data in self.watched.items():
            logits = self._predict(network, data, state)
            self.history[-1][f"{name}/top1"] = accuracy(logits, data.labels)

    def _predict(self, network: nn.Module, data: Dataset, state: Callable[[], State]) -> Tensor:
        """Run the network over a set; when asked to stop meanwhile, save the state unless it is pretrained."""

        def pulse() -> None:
            if self.callbacks.should_stop():
                if self.generation.weights is None:
                    self.checkpoints.save(state())
                raise Stopped(f"{self.generation.name} stopped while it was measured")

        return predict(network, data.images, self.normalization, self.networks.engine, pulse=pulse)

    def _files(self, network: nn.Module, final: State) -> dict[str, bytes]:
        """Measure the final network; returns the files of its model.

        Errors: ``NotFinite`` for logits that are not finite numbers.
        """

        def logits_of(data: Dataset) -> Tensor:
            logits = self._predict(network, data, lambda: final)
            if not logits.isfinite().all():
                raise NotFinite(f"{self.generation.name}: the trained network gives scores that are not finite")
            return logits

        splits = self.networks.splits
        evaluation = {"train": measure(logits_of(splits.train), splits.train.labels)}
        predictions: dict[str, Tensor] = {}
        for name, data in {"test": splits.test, "holdout": splits.holdout}.items():
            if data is not None:
                predictions[name], predictions[f"{name}_labels"] = logits_of(data), data.labels
                evaluation[name] = measure(predictions[name], data.labels)
        lines = [json.dumps(epoch, sort_keys=True) + "\n" for epoch in self.history]
        return {
            CONFIG: storage.json_bytes(self._config()),
            "metrics.jsonl": "".join(lines).encode(),
            WEIGHTS: storage.tensor_bytes(_network_tensors(final)),
            "predictions.safetensors": storage.tensor_bytes(predictions),
            "evaluation.json": storage.json_bytes({name: each.to_json() for name, each in evaluation.items()}),
        }

    def _config(self) -> dict[str, Any]:
        networks, info, files = self.networks, self.networks.splits.info, self.networks.splits.train.files
        return {
            "place": self.place,
            "lineage_seed": networks.seed,
            "seed": generation_seed(networks.seed, self.place),
            "lineage": serialization.to_json(networks.lineage),
            "data_fingerprint": networks.splits.fingerprint,
            "data_mark": info.mark,
            "normalization": serialization.to_json(self.normalization),
            "input": [info.channels, info.height, info.width],
            "files": files and asdict(files.preparation),
            "data_notes": list(info.notes),
            "class_names": list(info.class_names),
            "precision": networks.engine.precision,
            "teachers": [networks.models[teacher].address for teacher in self.generation.teachers],
            "dependencies": self.dependencies,
        }

    def _check_address(self) -> None:
        """Check that what makes this model is still what it was when its address was computed.

        Errors: ``ValueError``.
        """
        if model_address(self._config()) != self.model.address:
            changed = self.generation.weights or self.generation.model
            raise ValueError(
                f"{self.generation.name}: {changed} has changed since this run began, and would train another model: "
                "start the command again"
            )


def _network_tensors(state: State) -> dict[str, Tensor]:
    return {n.removeprefix("network/"): value for n, value in state.tensors.items() if n.startswith("network/")}
