"""The addresses of a lineage's models: the hash of everything that makes each of them."""

from __future__ import annotations

from pathlib import Path

from tutelage.artifacts.model import Model
from tutelage.functional import hash_ints
from tutelage.lineage.origins import Origins
from tutelage.lineage.spec import Lineage
from tutelage.serialization import digest

NUMERICS = 2
"""Part of every address; raised whenever the same values would train to other weights than before."""


def addresses(
    lineage: Lineage, seed: int, data_fingerprint: str, precision: str, origins: Origins = Origins()
) -> tuple[str, ...]:
    """The address of each generation's model: the hash of everything that makes it.

    Names are not part of it, so equal generations of different lineages are the same model. Files that the lineage
    names are read, as far as ``origins`` do not say what they contained.

    Errors: ``OSError`` for pretrained weights that cannot be read; ``ValueError`` for metadata that cannot be right.
    """
    result: list[str] = []
    for place, generation in enumerate(lineage.generations):
        content: dict[str, object] = {
            "model": generation.model,
            "source": origins.source(generation.model),
            "data": data_fingerprint,
            "precision": precision,
        }
        if generation.weights is None:
            content |= {
                "numerics": NUMERICS,
                "objective": generation.objective,
                "schedule": generation.schedule,
                "views": lineage.views,
                "seed": generation_seed(seed, place),
                "teachers": [result[teacher] for teacher in generation.teachers],
            }
            if generation.teacher_shares:
                content["teacher_shares"] = generation.teacher_shares
        else:
            weights = origins.pretrained(generation.weights)
            content["weights"] = weights.sha256
            if weights.normalization is not None:  # it decides how the same images are prepared
                content["input"] = {"normalization": weights.normalization, "shape": weights.shape}
        result.append(digest(content)[:24])
    return tuple(result)


def models_of(
    lineage: Lineage, seed: int, data_fingerprint: str, precision: str, runs: Path, origins: Origins = Origins()
) -> tuple[Model, ...]:
    """The models of a lineage at one seed, trained or not."""
    return tuple(
        Model(address=address, folder=runs / "models" / address)
        for address in addresses(lineage, seed, data_fingerprint, precision, origins)
    )


def generation_seed(seed: int, place: int) -> int:
    """The seed of one generation, from the lineage's seed and its place in the lineage alone.

    >>> generation_seed(0, 1) == generation_seed(0, 1), generation_seed(0, 1) == generation_seed(1, 0)
    (True, False)
    """
    return int(hash_ints(seed, place)) & (2**63 - 1)
