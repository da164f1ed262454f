"""A trained model as it lies on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tutelage import storage
from tutelage.lineage.values import Lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A trained model in its folder, under its address."""

    address: str
    folder: Path

    @property
    def finished(self) -> bool:
        """Whether it has been trained and measured."""
        return storage.is_finished(self.folder)

    def evaluation(self) -> dict[str, dict[str, Any]]:
        """Its measures by set (``test``, ``train``, ``holdout``)."""
        found: dict[str, dict[str, Any]] = json.loads((self.folder / "evaluation.json").read_bytes())
        return found

    def metrics(self) -> list[dict[str, float]]:
        """What each epoch of its training measured."""
        lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def predictions(self) -> dict[str, Tensor]:
        """Its logits on the test set and the holdout, ``test`` and ``holdout``, beside their labels."""
        return storage.read_tensors(self.folder / "predictions.safetensors")

    def weights(self) -> dict[str, Tensor]:
        """Its weights and buffers."""
        return storage.read_tensors(self.folder / "weights.safetensors")

    def made(self) -> dict[str, Any]:
        """When, where and how fast it was trained."""
        note: dict[str, Any] = storage.read_manifest(self.folder)["note"]
        return note

    def verify(self) -> None:
        """Check every file of it.

        Errors: ``storage.Damaged``, saying what to do.
        """
        try:
            storage.verify(self.folder)
        except storage.Damaged as fault:
            raise storage.Damaged(f"{fault}. Delete {self.folder} to train this model again") from None


def models_of(lineage: Lineage, seed: int, data_fingerprint: str, precision: str, runs: Path) -> tuple[Model, ...]:
    """The models a lineage comes to, trained or not."""
    addresses = lineage.addresses(seed, data_fingerprint, precision)
    return tuple(Model(address=address, folder=runs / "models" / address) for address in addresses)
