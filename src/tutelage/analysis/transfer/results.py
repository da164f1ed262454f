"""The results of probes, as they are stored beside the models.

``RUNS/transfer/ADDRESS/DIGEST`` holds the result of one probe for one model on one dataset; ``RUNS/transfer/pixels``
holds the results on the pixels themselves. All of it can be deleted, and is then computed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tutelage import serialization, storage
from tutelage.artifacts.config import Shape
from tutelage.artifacts.model import Model
from tutelage.data import Splits
from tutelage.evaluation.features import CONVERSION
from tutelage.evaluation.probe import PROTOCOLS
from tutelage.validation import parse_json

Probe = Literal["linear", "knn"]
PROBES: tuple[Probe, ...] = ("linear", "knn")
PIXELS = "pixels"
_FILE = "transfer.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The result of one probe on one dataset, on the features of one model or on the pixels.

    ``model`` is an address, or ``pixels``; ``weights`` is the SHA-256 of the model's weights. ``layers`` are the
    modules that were requested, none for the input of the last linear layer, and ``layer`` is the one that was used.
    ``shape`` is that of the converted images, ``(C, H, W)``; ``width`` is the number of features. ``accuracy`` is on
    the test set, in ``[0, 1]``; ``l2`` and ``converged`` are those of
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

    def __post_init__(self) -> None:
        sizes = (self.train_size, self.test_size, self.num_classes, self.width, *self.shape)
        if min(sizes) < 1:
            raise ValueError(f"a size is {min(sizes)}: expected 1 or more")
        if not 0 <= self.accuracy <= 1:
            raise ValueError(f"accuracy is {self.accuracy}: expected a share from 0 to 1")


@dataclass(frozen=True, slots=True, eq=False)
class Destination:
    """The dataset that features are transferred to, and the modules to take them from.

    ``name`` is printed in tables. Of each network the first of ``layers`` that it has is used; without ``layers``,
    the input of its last linear layer.
    """

    splits: Splits
    name: str
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subject:
    """What is probed, and the folder of its results: a model by its ``weights``, or pixels of images of a ``shape``.

    The shape of a model's images is part of its address, and so of the folder.
    """

    folder: Path
    weights: str = ""
    shape: Shape | None = None

    @classmethod
    def model(cls, model: Model) -> Subject:
        """The features of a finished model."""
        return cls(model.runs / "transfer" / model.address, model.weights_digest())

    @classmethod
    def pixels(cls, runs: Path, shape: Shape) -> Subject:
        """The pixels of images converted to a shape."""
        return cls(runs / "transfer" / PIXELS, shape=shape)

    def result_folder(self, to: Destination, probe: Probe) -> Path:
        """The folder of one result, named by a hash of everything that decides it besides the model's address."""
        source: list[Any] = [self.weights, to.layers] if self.shape is None else [self.shape]
        content = [*source, to.splits.fingerprint, probe, PROTOCOLS[probe], CONVERSION]
        return self.folder / serialization.digest(content)[:24]

    def missing(self, to: Destination, probes: Sequence[Probe]) -> tuple[Probe, ...]:
        """The probes that have no stored result yet."""
        return tuple(probe for probe in probes if _read(self.result_folder(to, probe)) is None)

    def store(self, result: ProbeResult, to: Destination, versions: Mapping[str, str]) -> None:
        """Store a result, with the ``versions`` of the libraries that computed it.

        Errors: ``OSError`` for a folder that cannot be written.
        """
        content = storage.json_bytes(serialization.to_json(result))
        storage.commit(self.result_folder(to, result.probe), {_FILE: content}, versions)


def stored_results(model: Model) -> tuple[ProbeResult, ...]:
    """The stored results of a finished model, by the current protocols and for its current weights."""
    subject = Subject.model(model)
    return _read_all(subject.folder, subject.weights)


def stored_pixel_results(runs: Path) -> tuple[ProbeResult, ...]:
    """The stored results on pixels, by the current protocols."""
    return _read_all(runs / "transfer" / PIXELS, "")


def _read_all(folder: Path, weights: str) -> tuple[ProbeResult, ...]:
    results = [_read(path) for path in sorted(folder.glob("*"))]
    return tuple(
        result
        for result in results
        if result is not None
        and (result.weights, result.conversion) == (weights, CONVERSION)
        and result.protocol == PROTOCOLS.get(result.probe)
    )


def _read(folder: Path) -> ProbeResult | None:
    """The result in a folder; None if it is damaged or of another version, so that it is computed again."""
    if not storage.is_finished(folder):
        return None
    try:
        content = storage.read_listed(folder, _FILE, storage.MAX_JSON)
        result = serialization.from_json(parse_json(content, str(folder / _FILE)))
    except ValueError:
        return None
    return result if isinstance(result, ProbeResult) else None
