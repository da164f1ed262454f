"""A trained model as it lies on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from tutelage import serialization, storage
from tutelage.data import Normalization
from tutelage.evaluation import at_chance
from tutelage.validation import checked, parse_json

_MEASURES = ("top1", "top5", "nll", "ece", "primary", "energy")
_MADE_OF: dict[str, Any] = {
    "place": int,
    "lineage_seed": int,
    "class_names": tuple[str, ...],
    "input": tuple[int, int, int],
    "data_fingerprint": str,
    "precision": str,
    "teachers": tuple[str, ...],
}


Found = TypeVar("Found")


def _line(text: bytes) -> dict[str, float]:
    told = parse_json(text, "a line")
    if not isinstance(told, dict) or "epoch" not in told:
        raise ValueError(f"a line is no epoch's measures: {str(told)[:80]!r}")
    return {name: checked(value, float, name) for name, value in told.items()}


def _fit(logits: Tensor, labels: Tensor) -> bool:
    if logits.ndim != 2 or not logits.is_floating_point() or labels.dtype != torch.int64:
        return False
    count, classes = logits.shape
    return labels.shape == (count,) and count > 0 and int(labels.min()) >= 0 and int(labels.max()) < classes


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
        """Its measures by set (``test``, ``train``, ``holdout``).

        Errors: ``storage.Damaged``, as for all that is read here.
        """
        found = self._read("evaluation.json", Mapping[str, Any])
        for name in {"test", "train", *found}:
            for measure in _MEASURES:
                kind = tuple[float, ...] if measure == "energy" else float
                self._checked("evaluation.json", found, (name, measure), kind)
        return dict(found)

    def made_of(self) -> dict[str, Any]:
        """All that it was made of, as its ``config.json`` says."""
        found = self._read("config.json", Mapping[str, Any])
        for place, kind in _MADE_OF.items():
            self._checked("config.json", found, (place,), kind)
        self._checked("config.json", found, ("lineage", "generations", found["place"], "model"), str)
        self._checked("config.json", found, ("lineage", "data", "name"), str)
        return dict(found)

    def network(self) -> str:
        """The name of its network."""
        made_of = self.made_of()
        return str(made_of["lineage"]["generations"][made_of["place"]]["model"])

    def normalization(self) -> Normalization:
        """How the images it sees are normalized."""
        made_of = self.made_of()
        told, channels = made_of.get("normalization"), made_of["input"][0]
        found: Normalization = self._at(
            "config.json",
            lambda: checked(serialization.from_json(told, path="normalization"), Normalization, "normalization"),
        )
        if not len(found.mean) == len(found.std) == channels:
            raise storage.Damaged(f"{self.folder / 'config.json'}: normalization: expected {channels} channels")
        return found

    def metrics(self) -> list[dict[str, float]]:
        """What each epoch of its training measured."""
        return self._at("metrics.jsonl", lambda: [_line(line) for line in self._bytes("metrics.jsonl").splitlines()])

    def predictions(self) -> dict[str, Tensor]:
        """Its logits on the test set and the holdout, ``test`` and ``holdout``, beside their labels."""
        found = self._tensors("predictions.safetensors")
        for name in {"test", *(name for name in found if f"{name}_labels" in found)}:
            logits, labels = found.get(name), found.get(f"{name}_labels")
            if logits is None or labels is None or not _fit(logits, labels):
                raise storage.Damaged(
                    f"{self.folder / 'predictions.safetensors'} has no logits and labels of {name!r}"
                )
        return found

    def at_chance(self) -> bool:
        """Whether it is right on the test set no more often than one may be who sees no image."""
        predictions = self.predictions()
        return at_chance(predictions["test"], predictions["test_labels"])

    def weights(self) -> dict[str, Tensor]:
        """Its weights and buffers."""
        return self._tensors("weights.safetensors")

    def weights_digest(self) -> str:
        """The SHA-256 of its weights and buffers, by its manifest: trained again, it may have others."""
        return str(storage.read_manifest(self.folder)["files"]["weights.safetensors"]["sha256"])

    def made(self) -> dict[str, Any]:
        """When, where and how fast it was trained; ``continued`` where it went on in other surroundings."""
        note: dict[str, Any] = storage.read_manifest(self.folder)["note"]
        return note

    def _bytes(self, name: str) -> bytes:
        return storage.read_listed(self.folder, name)

    def _tensors(self, name: str) -> dict[str, Tensor]:
        return storage.tensors_in(self._bytes(name), str(self.folder / name))

    def _read(self, name: str, kind: Any) -> Any:
        return self._at(name, lambda: checked(parse_json(self._bytes(name), "it"), kind, "$"))

    def _checked(self, name: str, value: Any, path: tuple[str | int, ...], kind: Any) -> None:
        """Make sure that what stands at a place of a file is of this kind."""
        place = ".".join(map(str, path))
        try:
            for step in path:
                value = value[step]
        except (KeyError, IndexError, TypeError):
            raise storage.Damaged(f"{self.folder / name} has no {place}") from None
        self._at(name, lambda: checked(value, kind, place))

    def _at(self, name: str, read: Callable[[], Found]) -> Found:
        """Name the file in what is wrong with its content."""
        try:
            return read()
        except storage.Damaged:
            raise
        except ValueError as error:
            raise storage.Damaged(f"{self.folder / name}: {error}") from None

    def verify(self) -> None:
        """Check every file of it.

        Errors: ``storage.Damaged``, saying what to do.
        """
        try:
            storage.verify(self.folder)
        except storage.NewerFormat:
            raise
        except storage.Damaged as fault:
            raise storage.Damaged(f"{fault}. Delete {self.folder} to train this model again") from None
