"""Generations and lineages as frozen values, and the address of the model that each will be."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tutelage import storage
from tutelage.artifacts.pretrained import described
from tutelage.data import CropFlip, DataConfig
from tutelage.functional import hash_ints
from tutelage.models.build import source
from tutelage.objective import Objective, expected_primary
from tutelage.serialization import digest
from tutelage.training import Schedule

NUMERICS = 1
"""Part of every address; raised whenever the same values would train to other weights than before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One model's training: its network, what it minimises, for how long, and who teaches it.

    ``teachers`` are places in the lineage; several of them teach as one, the mean of their probabilities, each with
    its share of ``teacher_shares`` (equal ones by default). With ``weights``, a file or a model's folder, the network
    is not trained but taken as it is.
    """

    name: str
    model: str
    objective: Objective
    schedule: Schedule
    teachers: tuple[int, ...] = ()
    teacher_shares: tuple[float, ...] = ()
    weights: str | None = None

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.name.isprintable():
            raise ValueError(f"a generation's name is one line of text, not {self.name!r}")
        object.__setattr__(self, "teachers", tuple(self.teachers))
        object.__setattr__(self, "teacher_shares", tuple(self.teacher_shares))
        if self.teacher_shares and len(self.teacher_shares) != len(self.teachers):
            raise ValueError(
                f"generation {self.name!r} has {len(self.teachers)} teachers and {len(self.teacher_shares)} shares"
            )
        if not all(share > 0 for share in self.teacher_shares):
            raise ValueError(f"a teacher's share must be above 0, not {list(self.teacher_shares)}")
        if self.objective.needs_teacher and not self.teachers:
            raise ValueError(f"generation {self.name!r} learns by {self.objective}, but nobody teaches it")
        if self.teachers and not self.objective.needs_teacher:
            raise ValueError(f"generation {self.name!r} has a teacher, but {self.objective} does not ask one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Generations in the order they are trained; a teacher always stands before its pupil.

    Errors: ``ValueError`` for an empty lineage, two generations of one name, or a teacher at or after its pupil.
    """

    name: str
    data: DataConfig
    views: CropFlip
    generations: tuple[Generation, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "generations", tuple(self.generations))
        names = [generation.name for generation in self.generations]
        if not names:
            raise ValueError("a lineage needs at least one generation")
        if len(set(names)) != len(names):
            raise ValueError(f"the generations of a lineage need different names, not {', '.join(names)}")
        for place, generation in enumerate(self.generations):
            for teacher in generation.teachers:
                if not 0 <= teacher < place:
                    raise ValueError(
                        f"generation {generation.name!r} at place {place} has its teacher at place {teacher}: "
                        "a teacher stands before its pupil"
                    )
            if len(generation.teachers) > 1 and generation.objective.teacher_layers:
                raise ValueError(
                    f"generation {generation.name!r} reads features of its teacher "
                    f"({', '.join(generation.objective.teacher_layers)}), and several teachers together have none"
                )

    def addresses(self, seed: int, data_fingerprint: str, precision: str) -> tuple[str, ...]:
        """The address of each generation's model: the hash of everything that makes it.

        Names are not part of it, so equal generations of different lineages are the same model.
        """
        found: list[str] = []
        for place, generation in enumerate(self.generations):
            made_of: dict[str, object] = {
                "numerics": NUMERICS,
                "model": generation.model,
                "source": source(generation.model),
                "objective": generation.objective,
                "schedule": generation.schedule,
                "views": self.views,
                "data": data_fingerprint,
                "seed": generation_seed(seed, place),
                "precision": precision,
                "teachers": [found[teacher] for teacher in generation.teachers],
            }
            if generation.teacher_shares:
                made_of["teacher_shares"] = generation.teacher_shares
            if generation.weights is not None:
                made_of = {name: made_of[name] for name in ("data", "model", "source", "precision")}
                made_of["weights"] = _weights_digest(Path(generation.weights))
                given = described(generation.weights)
                if given is not None:  # what it makes of the same images
                    made_of["input"] = {"normalization": given.normalization, "shape": given.shape}
            found.append(digest(made_of)[:24])
        return tuple(found)


def expected_scores(lineage: Lineage, num_classes: int) -> tuple[float | None, ...]:
    """The expected score of the labelled class of each generation, None where no closed form is known.

    Source: :func:`tutelage.objective.expected_primary`, along the line.
    """
    found: list[float | None] = []
    for generation in lineage.generations:
        teacher = found[generation.teachers[0]] if len(generation.teachers) == 1 else None
        found.append(expected_primary(generation.objective, num_classes, teacher))
    return tuple(found)


def generation_seed(seed: int, place: int) -> int:
    """The seed of one generation, from the lineage's seed and its place in the line alone.

    >>> generation_seed(0, 1) == generation_seed(0, 1), generation_seed(0, 1) == generation_seed(1, 0)
    (True, False)
    """
    return int(hash_ints(seed, place)) & (2**63 - 1)


def _weights_digest(path: Path) -> str:
    """What tells given weights apart: the SHA-256 of the file, or the one that a model's folder lists."""
    if path.is_dir():
        listed = storage.read_manifest(path)["files"]
        return str(listed.get("weights.safetensors", {}).get("sha256"))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
