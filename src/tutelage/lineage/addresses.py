"""The addresses of a lineage's models: the hash of everything that makes each of them."""

from __future__ import annotations

from pathlib import Path

from tutelage.artifacts.model import Model
from tutelage.lineage.spec import Lineage


def models_of(lineage: Lineage, seed: int, data_fingerprint: str, precision: str, runs: Path) -> tuple[Model, ...]:
    """The models a lineage comes to, trained or not."""
    addresses = lineage.addresses(seed, data_fingerprint, precision)
    return tuple(Model(address=address, folder=runs / "models" / address) for address in addresses)
