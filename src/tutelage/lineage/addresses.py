"""The addresses of a lineage's models: the hash of everything that makes each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tutelage.artifacts.config import model_address
from tutelage.artifacts.model import Model
from tutelage.artifacts.pretrained import read_metadata, weights_digest
from tutelage.functional import hash_ints
from tutelage.lineage.spec import Generation, Lineage
from tutelage.models.build import source
from tutelage.serialization import to_json

NUMERICS = 2
"""Part of every address; raised whenever the same values would train to other weights than before."""


def addresses(lineage: Lineage, seed: int, data_fingerprint: str, precision: str) -> tuple[str, ...]:
    """The address of each generation's model, see :func:`tutelage.artifacts.config.model_address`.

    Errors: ``OSError`` for pretrained weights that cannot be read; ``ValueError`` for metadata that cannot be right.
    """
    tree = to_json(lineage)
    result: list[str] = []
    for place, generation in enumerate(lineage.generations):
        config = {
            "lineage": tree,
            "place": place,
            "seed": generation_seed(seed, place),
            "data_fingerprint": data_fingerprint,
            "precision": precision,
            "teachers": [result[teacher] for teacher in generation.teachers],
            "dependencies": dependencies(generation),
        }
        result.append(model_address(config))
    return tuple(result)


def dependencies(generation: Generation) -> dict[str, Any]:
    """What a model depends on outside of its lineage: the code of its network, how tutelage computes, or its weights.

    Errors: ``OSError`` for pretrained weights that cannot be read; ``ValueError`` for metadata that cannot be right.
    """
    if generation.weights is None:
        return {"source": source(generation.model), "numerics": NUMERICS}
    content: dict[str, Any] = {
        "source": source(generation.model),
        "weights": weights_digest(Path(generation.weights)),
    }
    metadata = read_metadata(generation.weights)
    if metadata is not None:  # it decides how the same images are prepared
        shape = (metadata.channels, metadata.height, metadata.width)
        content["input"] = {"normalization": to_json(metadata.normalization), "shape": list(shape)}
    return content


def models_of(lineage: Lineage, seed: int, data_fingerprint: str, precision: str, runs: Path) -> tuple[Model, ...]:
    """The models of a lineage at one seed, trained or not."""
    return tuple(
        Model(address=address, folder=runs / "models" / address)
        for address in addresses(lineage, seed, data_fingerprint, precision)
    )


def generation_seed(seed: int, place: int) -> int:
    """The seed of one generation, from the lineage's seed and its place in the lineage alone.

    >>> generation_seed(0, 1) == generation_seed(0, 1), generation_seed(0, 1) == generation_seed(1, 0)
    (True, False)
    """
    return int(hash_ints(seed, place)) & (2**63 - 1)
