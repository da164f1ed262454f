"""The logits of finished models on the images they were trained on: computed once, and stored beside the models.

``RUNS/measured/ADDRESS`` holds a model's logits, ``RUNS/measured/FINGERPRINT`` the labels of a training set. Neither
is part of a model: both can be deleted, and are then computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage import storage
from tutelage.artifacts.contents import check_labels, check_logits
from tutelage.artifacts.model import Model
from tutelage.data import Splits
from tutelage.engine import Engine
from tutelage.evaluation import predict, primary_score
from tutelage.evaluation.semantics import superclasses_of
from tutelage.teachers.cached import exact_dtype

_WAIT = 3600.0  # seconds to wait for another process that measures the same model
_FILE = "train.safetensors"
_TOLERANCE = 0.01  # of the mean score: machines differ in the last bits, in bfloat16 a little more


class TrainingLabels(NamedTuple):
    """The labels ``[N]`` of a training set in its order, and the superclass of each class ``[K]``, if it has any."""

    labels: Tensor
    superclasses: Tensor | None


def training_logits(model: Model) -> Tensor | None:
    """Read a model's logits on its training images, not augmented: float32 ``[N, K]``; None if they are not stored.

    None also where the file does not match its manifest, holds no such logits, or was computed with other weights
    than the model has now.
    """
    num_classes = len(model.config()["class_names"])
    labels = training_labels(model)

    def check(tensors: Mapping[str, Tensor]) -> None:
        logits = _named(tensors, "logits")
        check_logits(logits, "logits", num_classes)
        if labels is not None and len(labels.labels) != len(logits):
            raise ValueError(f"holds {len(logits)} logits for {len(labels.labels)} images")

    tensors = _read(_folder(model, model.address), {"weights": model.weights_digest()}, check)
    return None if tensors is None else tensors["logits"].float()


def training_labels(model: Model) -> TrainingLabels | None:
    """Read the labels of the images a model was trained on; None until :func:`store_training_labels` stores them."""
    config = model.config()
    num_classes = len(config["class_names"])

    def check(tensors: Mapping[str, Tensor]) -> None:
        check_labels(_named(tensors, "labels"), "labels", num_classes)
        if "superclasses" in tensors:
            check_labels(tensors["superclasses"], "superclasses", num_classes)
            if len(tensors["superclasses"]) != num_classes:
                raise ValueError(f"holds {len(tensors['superclasses'])} superclasses for {num_classes} classes")

    tensors = _read(_folder(model, config["data_fingerprint"]), {}, check)
    return None if tensors is None else TrainingLabels(tensors["labels"], tensors.get("superclasses"))


def store_training_labels(model: Model, splits: Splits) -> None:
    """Store the labels of the images a model was trained on, for :func:`training_labels`.

    Errors: ``ValueError`` for images other than those it was trained on, or a class in two superclasses; ``OSError``
    for a folder that cannot be written.
    """
    _check(model, splits)

    def compute() -> tuple[dict[str, Tensor], dict[str, str]]:
        tensors = {"labels": splits.train.labels}
        parts = [part for part in (splits.train, splits.holdout, splits.test) if part is not None]
        coarse = [part.coarse_labels for part in parts if part.coarse_labels is not None]
        if len(coarse) == len(parts):
            labels = torch.cat([part.labels for part in parts])
            tensors["superclasses"] = superclasses_of(labels, torch.cat(coarse), splits.info.num_classes)
        return tensors, {}

    _store(_folder(model, splits.fingerprint), lambda: training_labels(model) is not None, compute)


def store_training_logits(model: Model, splits: Splits) -> None:
    """Run a finished model on the images it was trained on, and store its logits for :func:`training_logits`.

    Nothing is run where they are stored already. Of several processes that start at once, one computes while the
    others wait.

    Errors: ``storage.Damaged`` for a model that does not match its manifest; ``ValueError`` for images other than
    those it was trained on, and for logits that differ from those measured at the end of its training; ``OSError``
    for a folder that cannot be written.
    """
    _check(model, splits)

    def compute() -> tuple[dict[str, Tensor], dict[str, str]]:
        model.verify()
        logits = _run(model, splits)
        note = {"weights": model.weights_digest(), "torch": torch.__version__}
        return {"logits": logits.to(exact_dtype(logits))}, note

    _store(_folder(model, model.address), lambda: training_logits(model) is not None, compute)


def _run(model: Model, splits: Splits) -> Tensor:
    engine = Engine.choose(precision=model.config()["precision"])
    logits = predict(model.load_network(), splits.train.images, model.normalization(), engine)
    after_training, now = model.evaluation()["train"].primary, primary_score(logits, splits.train.labels)
    if not abs(after_training - now) <= _TOLERANCE:
        raise ValueError(
            f"model {model.address} gives the labels of its training images a mean score of {now:.4f} now, and gave "
            f"them {after_training:.4f} at the end of its training"
        )
    return logits


def _check(model: Model, splits: Splits) -> None:
    fingerprint = model.config()["data_fingerprint"]
    if fingerprint != splits.fingerprint:
        raise ValueError(
            f"model {model.address} was trained on other images than these: their fingerprint was "
            f"{fingerprint[:12]}..., it is {splits.fingerprint[:12]}... now"
        )


def _folder(model: Model, name: str) -> Path:
    return model.runs / "measured" / name


def _read(
    folder: Path, note: Mapping[str, str], check: Callable[[Mapping[str, Tensor]], None]
) -> dict[str, Tensor] | None:
    """The tensors of a folder, if they match its manifest, were stored with this note, and pass the check."""
    if not storage.is_finished(folder):
        return None
    try:
        stored = storage.read_manifest(folder)["note"]
        if any(stored.get(name) != value for name, value in note.items()):
            return None
        tensors = storage.tensors_in(storage.read_listed(folder, _FILE), str(folder / _FILE))
        check(tensors)
    except storage.NewerFormat:
        raise
    except ValueError:
        return None  # to be computed again
    return tensors


def _named(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise ValueError(f"has no {name}")
    return tensors[name]


def _store(
    folder: Path, is_stored: Callable[[], bool], compute: Callable[[], tuple[dict[str, Tensor], dict[str, str]]]
) -> None:
    if is_stored():
        return
    with storage.lock(folder, wait=_WAIT):
        if not is_stored():  # another process may have stored it while this one waited for the lock
            tensors, note = compute()
            storage.commit(folder, {_FILE: storage.tensor_bytes(tensors)}, note)
