"""The addresses of a lineage's models: the hash of everything that makes each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tutelage.artifacts.config import model_address
from tutelage.artifacts.model import Model
from tutelage.functional import hash_ints
from tutelage.lineage.origins import Origins
from tutelage.lineage.spec import Generation, Lineage
from tutelage.serialization import to_json

NUMERICS = 2
"""Part of every address; raised whenever the same values would train to other weights than before."""


def addresses(
    lineage: Lineage, seed: int, data_fingerprint: str, precision: str, origins: Origins = Origins()
) -> tuple[str, ...]:
    """The address of each generation's model, see :func:`tutelage.artifacts.config.model_address`.

    Files that the lineage names are read, as far as ``origins`` do not say what they contained.

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
            "dependencies": dependencies(generation, origins),
        }
        result.append(model_address(config))
    return tuple(result)


def dependencies(generation: Generation, origins: Origins = Origins()) -> dict[str, Any]:
    """What a model depends on outside of its lineage: the code of its network, how tutelage computes, or its weights.

    Errors: ``OSError`` for pretrained weights that cannot be read; ``ValueError`` for metadata that cannot be right.
    """
    source = origins.source(generation.model)
    if generation.weights is None:
        return {"source": source, "numerics": NUMERICS}
    weights = origins.pretrained(generation.weights)
    content: dict[str, Any] = {"source": source, "weights": weights.sha256}
    if weights.normalization is not None and weights.shape is not None:  # it decides how the images are prepared
        content["input"] = {"normalization": to_json(weights.normalization), "shape": list(weights.shape)}
    return content


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
