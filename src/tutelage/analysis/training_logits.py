"""What a finished model says of the images it was trained on: computed once, when first asked for, and kept.

``runs/measured/ADDRESS`` holds a model's logits, ``runs/measured/FINGERPRINT`` the labels of a training set. Neither
is part of a model: both can be deleted, and are then computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage import storage
from tutelage.artifacts.model import Model
from tutelage.data import Splits
from tutelage.engine import Engine
from tutelage.evaluation import predict, primary_score
from tutelage.evaluation.semantics import superclasses_of
from tutelage.models.build import build
from tutelage.models.weights import fit_weights
from tutelage.teachers.cached import exact_dtype

_WAIT = 3600.0  # seconds for another process that measures the same model
_FILE = "train.safetensors"


class TrainingLabels(NamedTuple):
    """The labels ``[N]`` of a training set in its order, and the superclass of each class ``[K]``, if it has any."""

    labels: Tensor
    superclasses: Tensor | None


def training_logits(model: Model) -> Tensor | None:
    """A model's logits on its training images, not augmented, float32 ``[N, K]``; None until they were measured.

    None too where the file is not what its manifest says, or is of other weights than the model has now.
    """
    found = _kept(_folder(model, model.address), {"weights": model.weights_digest()})
    return None if found is None else found["logits"].float()


def training_labels(model: Model) -> TrainingLabels | None:
    """The labels of the images a model was trained on; None until :func:`keep_training_labels` kept them."""
    found = _kept(_folder(model, model.made_of()["data_fingerprint"]), {})
    return None if found is None else TrainingLabels(found["labels"], found.get("superclasses"))


def keep_training_labels(model: Model, splits: Splits) -> None:
    """Keep the labels of the images a model was trained on, for :func:`training_labels`.

    Errors: ``ValueError`` for other images than it was trained on, or a class in two superclasses; ``OSError`` for a
    folder that cannot be written.
    """
    _check(model, splits)

    def found() -> tuple[dict[str, Tensor], dict[str, str]]:
        tensors = {"labels": splits.train.labels}
        parts = [part for part in (splits.train, splits.holdout, splits.test) if part is not None]
        coarse = [part.coarse_labels for part in parts if part.coarse_labels is not None]
        if len(coarse) == len(parts):
            labels = torch.cat([part.labels for part in parts])
            tensors["superclasses"] = superclasses_of(labels, torch.cat(coarse), splits.facts.num_classes)
        return tensors, {}

    _keep(_folder(model, splits.fingerprint), lambda: training_labels(model) is not None, found)


def keep_training_logits(model: Model, splits: Splits) -> None:
    """Run a finished model over the images it was trained on, and keep its logits for :func:`training_logits`.

    Nothing is run where they are kept already; of several processes that ask at once one computes, the others wait.

    Errors: ``storage.Damaged`` for a model that is not what its manifest says; ``ValueError`` for other images than
    it was trained on, and for logits that are not those measured at the end of its training; ``OSError`` for a folder
    that cannot be written.
    """
    _check(model, splits)

    def computed() -> tuple[dict[str, Tensor], dict[str, str]]:
        model.verify()
        logits = _run(model, splits)
        note = {"weights": model.weights_digest(), "torch": torch.__version__}
        return {"logits": logits.to(exact_dtype(logits))}, note

    _keep(_folder(model, model.address), lambda: training_logits(model) is not None, computed)


def _run(model: Model, splits: Splits) -> Tensor:
    made_of = model.made_of()
    name = model.network()
    network = build(name, splits.facts.num_classes, splits.facts.channels, seed=0)
    fit_weights(network, model.weights(), str(model.folder))
    normalization = model.normalization()
    engine = Engine.choose(precision=made_of["precision"])
    logits = predict(network, splits.train.images, normalization, engine)
    then, now = model.evaluation()["train"]["primary"], primary_score(logits, splits.train.labels)
    if not abs(then - now) <= 0.01:  # machines differ in the last bits, bfloat16 ones a little more
        raise ValueError(
            f"model {model.address} gives the labels of its training images a mean score of {now:.4f} now, and gave "
            f"them {then:.4f} at the end of its training"
        )
    return logits


def _check(model: Model, splits: Splits) -> None:
    if (trained := model.made_of()["data_fingerprint"]) != splits.fingerprint:
        raise ValueError(
            f"model {model.address} was trained on other images than there are now: their fingerprint was "
            f"{trained[:12]}..., it is {splits.fingerprint[:12]}..."
        )


def _folder(model: Model, name: str) -> Path:
    return model.folder.parent.parent / "measured" / name


def _kept(folder: Path, note: Mapping[str, str]) -> dict[str, Tensor] | None:
    """The tensors of a folder, if they are whole and were kept with this note."""
    if not storage.is_finished(folder):
        return None
    try:
        found = storage.verify(folder)["note"]
    except storage.Damaged:
        return None  # it can be computed again
    if any(found.get(name) != value for name, value in note.items()):
        return None
    return storage.read_tensors(folder / _FILE)


def _keep(
    folder: Path, is_kept: Callable[[], bool], make: Callable[[], tuple[dict[str, Tensor], dict[str, str]]]
) -> None:
    if is_kept():
        return
    with storage.lock(folder, wait=_WAIT):
        if not is_kept():  # whoever held the lock may have just kept it
            tensors, note = make()
            storage.commit(folder, {_FILE: storage.tensor_bytes(tensors)}, note)
