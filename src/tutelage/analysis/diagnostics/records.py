"""What the records of all diagnostics have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

R = TypeVar("R")

Reason = Literal[
    "no teacher",
    "teacher unfinished",
    "one temperature",
    "no temperature fits",
    "no superclasses",
    "labels not stored",
    "logits not stored",
]
"""Why a generation lacks a record; ``measure_training_sets`` stores labels and logits that are not stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRecord:
    """A generation by the name of its arm, its own name, and its place in the lineage (0 for the first)."""

    arm: str
    generation: str
    place: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRecord(GenerationRecord):
    """A record of one model: a generation at one seed."""

    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledRecord(GenerationRecord):
    """A record of a generation over the images of all these seeds together."""

    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing(GenerationRecord):
    """A generation that a diagnostic has no record of, or none at this ``seed``, and why."""

    reason: Reason
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis(Generic[R]):
    """The records of one diagnostic in the order of the study, and the generations that lack them."""

    records: tuple[R, ...] = ()
    missing: tuple[Missing, ...] = ()
