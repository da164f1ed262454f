"""A trained model on disk: read and verify its files, load its network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from tutelage import serialization, storage
from tutelage.artifacts import contents
from tutelage.artifacts.config import Shape, check_address, read_config
from tutelage.artifacts.pretrained import WEIGHTS, weights_digest
from tutelage.data import Normalization
from tutelage.evaluation import Measures
from tutelage.models.build import build
from tutelage.models.weights import fit_weights
from tutelage.validation import checked, parse_json

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A trained model, its address and its folder.

    Errors: every method that reads a file raises ``storage.Damaged``, naming the file, for content that is not valid,
    and for the folder of another model.
    """

    address: str
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether the model is trained and measured."""
        return storage.is_finished(self.folder)

    @property
    def runs(self) -> Path:
        """The runs folder that holds the model."""
        return self.folder.parent.parent

    def evaluation(self) -> dict[str, Measures]:
        """The measures by set: ``test``, ``train`` and, where there is one, ``holdout``."""
        values = self._json("evaluation.json")
        return self._naming("evaluation.json", lambda: contents.read_evaluation(values))

    def config(self) -> dict[str, Any]:
        """The ``config.json``: everything that determined what was trained."""
        config = read_config(self.folder)
        check_address(self.folder, self.address)
        return config

    def network_name(self) -> str:
        """The name of the network."""
        config = self.config()
        return str(config["lineage"]["generations"][config["place"]]["model"])

    def input_shape(self) -> Shape:
        """The shape ``(C, H, W)`` of the training images."""
        channels, height, width = self.config()["input"]
        return channels, height, width

    def normalization(self) -> Normalization:
        """The normalization of the network's input."""
        config = self.config()
        normalization: Normalization = self._naming(
            "config.json",
            lambda: checked(
                serialization.from_json(config.get("normalization"), path="normalization"),
                Normalization,
                "normalization",
            ),
        )
        channels = config["input"][0]
        if not len(normalization.mean) == len(normalization.std) == channels:
            raise storage.Damaged(f"{self.folder / 'config.json'}: normalization: expected {channels} channels")
        if min(normalization.std) <= 0 or (normalization.size is not None and normalization.size < 1):
            raise storage.Damaged(f"{self.folder / 'config.json'}: normalization: expected sizes above 0")
        return normalization

    def metrics(self) -> list[dict[str, float]]:
        """The metrics of each epoch of training."""
        name = "metrics.jsonl"
        return self._naming(name, lambda: contents.read_metrics(self._bytes(name, storage.MAX_JSON)))

    def predictions(self) -> dict[str, Tensor]:
        """The logits and labels of each evaluated set: ``test`` and ``test_labels``, and the same for ``holdout``."""
        name, num_classes = "predictions.safetensors", len(self.config()["class_names"])
        tensors = self._tensors(name)
        self._naming(name, lambda: contents.check_predictions(tensors, num_classes))
        return tensors

    def weights(self) -> dict[str, Tensor]:
        """The weights and buffers."""
        return self._tensors(WEIGHTS)

    def weights_digest(self) -> str:
        """The SHA-256 of the weights from the manifest. A model that is trained again may have other weights."""
        return weights_digest(self.folder)

    def provenance(self) -> dict[str, Any]:
        """When, where and how fast the model was trained; ``continued`` if it was resumed in another environment."""
        note: dict[str, Any] = storage.read_manifest(self.folder)["note"]
        return note

    def load_network(self) -> nn.Module:
        """Build the network and load the weights into it.

        Errors: ``ValueError`` for a network that cannot be built, and for weights that do not fit it.
        """
        config = self.config()
        network = build(self.network_name(), len(config["class_names"]), config["input"][0], seed=0)
        fit_weights(network, self.weights(), str(self.folder))
        return network

    def verify(self) -> None:
        """Check every file against the manifest, and the configuration against the address.

        Errors: ``storage.Damaged``, with the advice to delete the folder.
        """
        try:
            storage.verify(self.folder)
            check_address(self.folder, self.address)
        except storage.NewerFormat:
            raise
        except storage.Damaged as fault:
            raise storage.Damaged(f"{fault}. Delete {self.folder} to train this model again") from None

    def _bytes(self, name: str, limit: int | None = None) -> bytes:
        check_address(self.folder, self.address)
        return storage.read_listed(self.folder, name, limit)

    def _tensors(self, name: str) -> dict[str, Tensor]:
        return storage.tensors_in(self._bytes(name), str(self.folder / name))

    def _json(self, name: str) -> Mapping[str, Any]:
        values: Mapping[str, Any] = self._naming(
            name, lambda: checked(parse_json(self._bytes(name, storage.MAX_JSON), "it"), Mapping[str, Any], "$")
        )
        return values

    def _naming(self, name: str, read: Callable[[], T]) -> T:
        """Call ``read``, and name the file in its errors."""
        try:
            return read()
        except storage.Damaged:
            raise
        except ValueError as error:
            joint = " " if str(error).startswith(("has ", "holds ")) else ": "
            raise storage.Damaged(f"{self.folder / name}{joint}{error}") from None
