"""What a finished model's features are worth on another dataset: probed once, when first asked for, and kept.

``runs/transfer/ADDRESS/DIGEST`` holds what one probe gave for one model on one dataset; ``pixels`` in the place of
the address, what it gave on pixels alone. None of it is part of a model: what is deleted is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from tutelage import serialization, storage
from tutelage.artifacts.model import Model
from tutelage.artifacts.trained import Shape, Trained
from tutelage.data import Splits
from tutelage.engine import Engine
from tutelage.evaluation.features import CONVERSION, converted, features
from tutelage.evaluation.probe import PROTOCOLS, knn_probe, linear_probe
from tutelage.validation import parse_json

Probe = Literal["linear", "knn"]
PROBES: tuple[Probe, ...] = ("linear", "knn")
PIXELS = "pixels"
MOST_PIXELS = 16
"""A side of the images whose pixels are probed: with thousands of pixels that takes longer than all else."""
_FILE = "transfer.json"
_WAIT = 3600.0  # seconds for another process that probes the same model


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What one probe gave on the features of one model, or on the pixels, of one dataset.

    ``model`` is an address, or ``pixels``; ``weights`` is the SHA-256 of the model's weights. ``layers`` are the
    modules that were asked for, none for the input of the last linear layer, and ``layer`` is the one taken.
    ``shape`` is that of the images ``(C, H, W)`` once converted, ``width`` the number of features. ``accuracy`` is
    on the test set, in ``[0, 1]``; ``l2`` and ``converged`` are those of
    :func:`tutelage.evaluation.probe.linear_probe`.
    """

    model: str
    weights: str
    data: str
    fingerprint: str
    train_size: int
    test_size: int
    num_classes: int
    probe: Probe
    protocol: Mapping[str, Any]
    conversion: str
    layers: tuple[str, ...]
    layer: str
    shape: Shape
    width: int
    accuracy: float
    l2: float | None = None
    converged: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Destination:
    """The other dataset under the name it is told by, and the modules whose features are asked for.

    Of each network the first of ``layers`` that it has is taken; without any, the input of its last linear layer.
    """

    splits: Splits
    name: str
    layers: tuple[str, ...] = ()


def kept(model: Model) -> tuple[Transfer, ...]:
    """What is kept of a finished model: by the protocols there are now, of the weights it has now."""
    return _all(_folder(model), _weights(model))


def kept_of_pixels(runs: Path) -> tuple[Transfer, ...]:
    """What the probes gave on pixels, by the protocols there are now."""
    return _all(runs / "transfer" / PIXELS, "")


def missing(model: Model, to: Destination, probes: Sequence[Probe]) -> tuple[Probe, ...]:
    """The probes of a finished model that are not kept yet."""
    return _missing(_folder(model), _weights(model), to, probes)


def missing_of_pixels(runs: Path, shape: Shape, to: Destination, probes: Sequence[Probe]) -> tuple[Probe, ...]:
    """The probes of pixels that are not kept yet."""
    return _missing(runs / "transfer" / PIXELS, "", to, probes, shape)


def shape_of(model: Model) -> Shape:
    """The shape ``(C, H, W)`` of the images that a finished model was trained on."""
    return Trained(model).shape


def pixels_of(shape: Shape) -> Shape:
    """The shape of the images whose pixels are the floor of a model of this shape: no side above ``MOST_PIXELS``.

    >>> pixels_of((3, 32, 12))
    (3, 16, 12)
    """
    channels, height, width = shape
    return channels, min(height, MOST_PIXELS), min(width, MOST_PIXELS)


def check_transfer(model: Model, to: Destination) -> None:
    """Make sure that a finished model's features can be taken, without running it over the dataset.

    Errors: ``ValueError`` for a layer that does not exist or is not clear, for images that cannot be converted, and
    for weights that do not fit the network.
    """
    trained = Trained(model)
    converted(to.splits.test.images[:1], trained.shape)
    trained.layer(trained.network(), to.layers)


def probe_model(model: Model, to: Destination, probes: Sequence[Probe]) -> None:
    """Probe the features of a finished model on another dataset and keep what comes out; what is kept is not redone.

    Errors: those of :func:`check_transfer`; ``ValueError`` for features that are not finite and for what a probe
    refuses; ``storage.Damaged`` for a model that is not what its manifest says; ``OSError`` for a folder that cannot
    be written.
    """

    def sets() -> tuple[list[Tensor], str]:
        model.verify()
        network = trained.network()
        layer = trained.layer(network, to.layers)
        engine = Engine.choose(precision=trained.precision)
        return [
            features(network, part.images, trained.normalization, engine, shape=trained.shape, layer=layer)
            for part in (to.splits.train, to.splits.test)
        ], layer

    trained = Trained(model)
    _probe(_folder(model), _weights(model), to, probes, trained.shape, sets)


def probe_pixels(runs: Path, shape: Shape, to: Destination, probes: Sequence[Probe]) -> None:
    """Probe the pixels of a dataset, converted to one shape as for a network, and keep what comes out.

    Errors: ``ValueError`` for images that cannot be converted and for what a probe refuses; ``OSError`` for a folder
    that cannot be written.
    """

    def sets() -> tuple[list[Tensor], str]:
        parts = (to.splits.train.images, to.splits.test.images)
        return [torch.cat([converted(few, shape).flatten(1) for few in part.split(500)]) for part in parts], ""

    _probe(runs / "transfer" / PIXELS, "", to, probes, shape, sets)


def _probe(
    folder: Path,
    weights: str,
    to: Destination,
    probes: Sequence[Probe],
    shape: Shape,
    sets: Callable[[], tuple[list[Tensor], str]],
) -> None:
    from importlib.metadata import version

    with storage.lock(folder, wait=_WAIT):
        probes = _missing(folder, weights, to, probes, shape)  # whoever held the lock may have just kept them
        if not probes:
            return
        (train, test), layer = sets()
        labels = to.splits.train.labels, to.splits.test.labels
        for probe in probes:
            found: dict[str, Any] = {}
            if probe == "linear":
                found = linear_probe(train, labels[0], test, labels[1])._asdict()
            else:
                found["accuracy"] = knn_probe(train, labels[0], test, labels[1])
            transfer = Transfer(
                model=folder.name,
                weights=weights,
                data=to.name,
                fingerprint=to.splits.fingerprint,
                train_size=len(train),
                test_size=len(test),
                num_classes=to.splits.facts.num_classes,
                probe=probe,
                protocol=PROTOCOLS[probe],
                conversion=CONVERSION,
                layers=to.layers if weights else (),
                layer=layer,
                shape=shape,
                width=train.shape[1],
                **found,
            )
            storage.commit(
                folder / _digest(weights, to, probe, shape),
                {_FILE: storage.json_bytes(serialization.to_json(transfer))},
                {"torch": torch.__version__, "scikit-learn": version("scikit-learn")},
            )


def _missing(
    folder: Path, weights: str, to: Destination, probes: Sequence[Probe], shape: Shape | None = None
) -> tuple[Probe, ...]:
    return tuple(probe for probe in probes if _read(folder / _digest(weights, to, probe, shape)) is None)


def _digest(weights: str, to: Destination, probe: Probe, shape: Shape | None) -> str:
    """What one probe's folder is called: of everything that decides what comes out, the model's address beside it."""
    of: list[Any] = [weights, to.layers] if weights else [shape]
    return serialization.digest([*of, to.splits.fingerprint, probe, PROTOCOLS[probe], CONVERSION])[:24]


def _read(folder: Path) -> Transfer | None:
    """What a folder keeps; None where it is not whole, or another version's, so that it is computed again."""
    if not storage.is_finished(folder):
        return None
    try:
        storage.verify(folder)
        found = serialization.from_json(parse_json((folder / _FILE).read_bytes(), str(folder / _FILE)))
    except (storage.Damaged, ValueError):
        return None
    return found if isinstance(found, Transfer) else None


def _all(folder: Path, weights: str) -> tuple[Transfer, ...]:
    found = [_read(path) for path in sorted(folder.glob("*"))]
    return tuple(
        one
        for one in found
        if one is not None
        and (one.weights, one.conversion) == (weights, CONVERSION)
        and one.protocol == PROTOCOLS.get(one.probe)
    )


def _folder(model: Model) -> Path:
    return model.folder.parent.parent / "transfer" / model.address


def _weights(model: Model) -> str:
    """The SHA-256 of a model's weights, by its manifest: a model that was trained again may have others."""
    return str(storage.read_manifest(model.folder)["files"].get("weights.safetensors", {}).get("sha256"))
