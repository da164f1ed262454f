"""Targets: the files that lie in a runs folder beside a finished model, each under a manifest that vouches for it.

The first byte of an input says which file the rest is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from tests.artifacts.folders import ADDRESS, FINGERPRINT, LABELS, LOGITS, contents, evaluation, write
from tests.artifacts.test_contents import PROBE
from tests.faults.fuzz.targets import Target, _unsynced, _written
from tutelage import serialization, storage
from tutelage.analysis.training_logits import training_labels, training_logits
from tutelage.analysis.transfer.results import PIXELS, stored_pixel_results
from tutelage.artifacts.ensembles import ensemble_measures
from tutelage.artifacts.model import Model
from tutelage.artifacts.pretrained import read_metadata
from tutelage.engine import Engine
from tutelage.lineage.checkpoints import Callbacks, Checkpoints
from tutelage.lineage.options import TrainOptions
from tutelage.methods.hinton import labels_only
from tutelage.objective import BoundObjective
from tutelage.study.files import load_failures, load_study, write_study
from tutelage.teachers.logit_store import LogitStore
from tutelage.training.sgd import Sgd
from tutelage.training.state import State, capture, restore

Part = tuple[bytes, Callable[[bytes], object]]
"""A valid content of a file, and what puts another one in its place and reads it."""


def _target(parts: list[Part]) -> Target:
    def read(data: bytes) -> None:
        _, reader = parts[(data or b"\0")[0] % len(parts)]
        with _unsynced():
            reader(data[1:])

    return Target(read, [bytes([number]) + content for number, (content, _) in enumerate(parts)])


def tensors(folder: Path) -> Target:
    """Logits and labels of training images, and states of training: a header of safetensors followed by zeros."""
    model = write(folder / "runs")
    network, bound = nn.Linear(3, 2), BoundObjective(labels_only(), {})
    optimizer, sums = Sgd(list(network.parameters()), momentum=0.9, nesterov=True, weight_decay=0.0), torch.zeros(4)

    def header(content: bytes) -> bytes:
        return content[8 : 8 + int.from_bytes(content[:8], "little")]

    def framed(data: bytes) -> bytes:
        return len(data).to_bytes(8, "little") + data + bytes(256)

    def logits(data: bytes) -> None:
        note = {"weights": model.weights_digest()}
        storage.commit(model.runs / "measured" / ADDRESS, {"train.safetensors": framed(data)}, note)
        stored = training_logits(model)
        assert stored is None or (stored.shape[1] == 3 and bool(stored.isfinite().all()))

    def labels(data: bytes) -> None:
        storage.commit(model.runs / "measured" / FINGERPRINT, {"train.safetensors": framed(data)})
        stored = training_labels(model)
        assert stored is None or int(stored.labels.max()) < 3

    def state(data: bytes) -> None:
        restore(State(step=1, tensors=storage.tensors_in(framed(data), "state")), network, bound, optimizer, sums)

    seeds = (
        storage.tensor_bytes({"logits": LOGITS}),
        storage.tensor_bytes({"labels": LABELS, "superclasses": torch.zeros(3, dtype=torch.int64)}),
        storage.tensor_bytes(capture(1, network, bound, optimizer, sums).tensors),
    )
    return _target([(header(seed), reader) for seed, reader in zip(seeds, (logits, labels, state), strict=True)])


def records(folder: Path) -> Target:
    """Studies and their failures, results of probes, measures of ensembles, checkpoints, configurations, stores."""
    runs, record = folder / "runs", _written()
    models = [write(runs, seed=seed) for seed in (0, 1)]
    write_study(record, runs)
    study = runs / "studies" / record.study.name
    ensemble_measures(models)
    (ensemble,) = (runs / "ensembles").iterdir()
    store = LogitStore(runs / "teachers", {"teacher": "a"}, size=9, num_classes=2).folder
    callbacks = Callbacks(should_stop=lambda: False, warn=lambda _: None, ensure_folder=lambda: None)
    engine, options = Engine.choose("cpu", "fp32", 1), TrainOptions()
    trained = Model(address="c" * 24, folder=runs / "models" / ("c" * 24))
    beside = {"state.safetensors": storage.tensor_bytes({"sums": torch.zeros(1)})}
    beside |= {"history.json": b'[{"epoch": 1, "loss": 0.5}]', "environment.json": b'{"continued": [], "threads": 1}'}

    def study_file(data: bytes) -> None:
        storage.commit(study, {"study.json": data})
        for lineage in load_study(study.name, runs).study.lineages:
            assert lineage.data.train_size is None or lineage.data.train_size > 0

    def failures(data: bytes) -> None:
        (study / "failures.json").write_bytes(data)
        assert all(failure.seed >= 0 for failure in load_failures(study.name, runs))

    def probe(data: bytes) -> None:
        storage.commit(runs / "transfer" / PIXELS / "a", {"transfer.json": data})
        assert all(0 <= result.accuracy <= 1 for result in stored_pixel_results(runs))

    def measures(data: bytes) -> None:
        storage.commit(ensemble, {"measures.json": data})
        assert 0 <= ensemble_measures(models).top1 <= 1

    def checkpoint(name: str) -> Callable[[bytes], object]:
        def read(data: bytes) -> None:
            note = {"owner": trained.address}
            storage.commit(trained.folder / "checkpoints" / "000000001", beside | {name: data}, note)
            Checkpoints("one", trained, engine, options, callbacks).resume()

        return read

    def configuration(data: bytes) -> None:
        path = models[0].folder / "config.json"
        path.write_bytes(data)
        with suppress(ValueError):
            read_metadata(str(models[0].folder))
        write(runs / "other", config=data).config()

    def description(data: bytes) -> None:
        (store / "store.json").write_bytes(data)
        LogitStore(runs / "teachers", {"teacher": "a"}, size=9, num_classes=2)

    return _target(
        [
            (json.dumps(serialization.to_json(record)).encode(), study_file),
            (b'[{"is": "study:Failure", "seed": 1, "arm": "a", "message": "m"}]', failures),
            (json.dumps(PROBE | {"protocol": {}, "conversion": "c"}).encode(), probe),
            (json.dumps(evaluation()["test"]).encode(), measures),
            (beside["history.json"], checkpoint("history.json")),
            (beside["environment.json"], checkpoint("environment.json")),
            (contents()["config.json"], configuration),
            ((store / "store.json").read_bytes(), description),
        ]
    )


TARGETS: dict[str, Callable[[Path], Target]] = {target.__name__: target for target in (tensors, records)}
