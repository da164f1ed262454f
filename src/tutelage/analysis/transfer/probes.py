"""Probe the features of a model, or the pixels, on another dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tutelage import storage
from tutelage.analysis.transfer.results import Destination, Probe, ProbeResult, Subject
from tutelage.artifacts.config import Shape
from tutelage.artifacts.model import Model
from tutelage.data import Dataset
from tutelage.data.dataset import batches_of
from tutelage.engine import Engine
from tutelage.evaluation.features import CONVERSION, converted, features, last_linear
from tutelage.evaluation.probe import PROTOCOLS, knn_probe, linear_probe
from tutelage.models.feature_hooks import resolve

MAX_SIDE = 16
"""The longest side of images whose pixels are probed: a fit on thousands of pixels takes longer than all others."""
_LOCK_SECONDS = 3600.0  # how long to wait for another process that probes the same model


class FeatureSets(NamedTuple):
    """Features ``[N, D]`` of the training and the test images, and the module they come from."""

    train: Tensor
    test: Tensor
    layer: str


def pixel_shape(shape: Shape) -> Shape:
    """The shape of the images whose pixels are the floor of a model with this input shape.

    No side is above ``MAX_SIDE``.

    >>> pixel_shape((3, 32, 12))
    (3, 16, 12)
    """
    channels, height, width = shape
    return channels, min(height, MAX_SIDE), min(width, MAX_SIDE)


def feature_layer(model: Model, network: nn.Module, layers: Sequence[str]) -> str:
    """Choose the module of a model's network whose output (``NAME``) or input (``NAME:input``) the features are.

    It is the first of ``layers`` that the network has; without ``layers``, the input of its last linear layer.

    Errors: ``ValueError`` if the network has none of the layers, and those of ``evaluation.features.last_linear``.
    """
    channels, height, width = model.input_shape()
    size = model.normalization().size
    try:
        if layers:
            return _first_present(network, layers)
        return f"{last_linear(network, (channels, size or height, size or width))}:input"
    except ValueError as error:
        raise ValueError(f"{model.network_name()}: {error}") from None


def check_transfer(model: Model, to: Destination) -> None:
    """Make sure that a finished model's features can be computed, without running it over the dataset.

    Errors: ``ValueError`` for a layer that does not exist or is ambiguous, for images that cannot be converted, and
    for weights that do not fit the network.
    """
    converted(to.splits.test.images[:1], model.input_shape())
    feature_layer(model, model.load_network(), to.layers)


def probe_model(model: Model, to: Destination, probes: Sequence[Probe]) -> None:
    """Probe the features of a finished model on another dataset and store the results that are missing.

    Errors: those of :func:`check_transfer`; ``ValueError`` for features that are not finite and for what a probe
    refuses; ``storage.Damaged`` for a model that does not match its manifest; ``OSError`` for a folder that cannot be
    written.
    """
    shape = model.input_shape()

    def compute() -> FeatureSets:
        model.verify()
        network, normalization = model.load_network(), model.normalization()
        engine = Engine.choose(precision=model.config()["precision"])
        layer = feature_layer(model, network, to.layers)

        def features_of(part: Dataset) -> Tensor:
            return features(network, part.images, normalization, engine, shape=shape, layer=layer)

        return FeatureSets(features_of(to.splits.train), features_of(to.splits.test), layer)

    _probe(Subject.model(model), shape, to, probes, compute)


def probe_pixels(runs: Path, shape: Shape, to: Destination, probes: Sequence[Probe]) -> None:
    """Probe the pixels of a dataset, converted to one shape as for a network, and store the missing results.

    Errors: ``ValueError`` for images that cannot be converted and for what a probe refuses; ``OSError`` for a folder
    that cannot be written.
    """

    def pixels_of(part: Dataset) -> Tensor:
        return torch.cat([converted(batch, shape).flatten(1) for batch in batches_of(part.images, 500)])

    def compute() -> FeatureSets:
        return FeatureSets(pixels_of(to.splits.train), pixels_of(to.splits.test), "")

    _probe(Subject.pixels(runs, shape), shape, to, probes, compute)


def _first_present(network: nn.Module, layers: Sequence[str]) -> str:
    """The first of some layers that a network has.

    Errors: ``ValueError`` about the first layer, if it has none.
    """
    faults = []
    for layer in layers:
        try:
            resolve(network, layer.removesuffix(":input"))
        except ValueError as error:
            faults.append(error)
        else:
            return layer
    raise faults[0]


def _probe(
    subject: Subject, shape: Shape, to: Destination, probes: Sequence[Probe], compute: Callable[[], FeatureSets]
) -> None:
    from importlib.metadata import version

    versions = {"torch": torch.__version__, "scikit-learn": version("scikit-learn")}
    with storage.lock(subject.folder, wait=_LOCK_SECONDS):
        missing = subject.missing(to, probes)  # checked under the lock: another process may just have stored them
        if not missing:
            return
        sets = compute()
        for probe in missing:
            subject.store(_result(subject, shape, to, probe, sets), to, versions)


def _result(subject: Subject, shape: Shape, to: Destination, probe: Probe, sets: FeatureSets) -> ProbeResult:
    train_labels, test_labels = to.splits.train.labels, to.splits.test.labels
    l2, converged = None, True
    if probe == "linear":
        accuracy, l2, converged = linear_probe(sets.train, train_labels, sets.test, test_labels)
    else:
        accuracy = knn_probe(sets.train, train_labels, sets.test, test_labels)
    return ProbeResult(
        model=subject.folder.name,
        weights=subject.weights,
        data=to.name,
        fingerprint=to.splits.fingerprint,
        train_size=len(sets.train),
        test_size=len(sets.test),
        num_classes=to.splits.info.num_classes,
        probe=probe,
        protocol=PROTOCOLS[probe],
        conversion=CONVERSION,
        layers=to.layers if subject.weights else (),
        layer=sets.layer,
        shape=shape,
        width=sets.train.shape[1],
        accuracy=accuracy,
        l2=l2,
        converged=converged,
    )
