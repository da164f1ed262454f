"""What a running study reports: a small union, matched by type."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.lineage import ModelEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something that the user should know; the study goes on. ``arm`` is empty where it concerns them all."""

    seed: int
    arm: str = ""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """One arm of a seed failed; a seed whose process died failed in no ``arm`` in particular."""

    seed: int
    arm: str = ""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedStopped:
    """A seed was asked to stop, and saved its state."""

    seed: int
    message: str


Event = ModelEvent | Warned | Failed | SeedStopped
