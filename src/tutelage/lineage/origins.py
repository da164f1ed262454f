"""What the files that a lineage names contain: a part of its models' addresses that a study stores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tutelage.artifacts.pretrained import read_metadata, weights_digest
from tutelage.data import Normalization
from tutelage.lineage.spec import Lineage
from tutelage.models.build import source


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCode:
    """The version of the code behind a network's name, see :func:`tutelage.models.build.source`."""

    model: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedWeights:
    """The digest of the weights at a path, and how their images are prepared where the file says so."""

    path: str
    sha256: str
    normalization: Normalization | None = None
    shape: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """What was read when a study was started. What is not here is read when it is asked for."""

    networks: tuple[NetworkCode, ...] = ()
    weights: tuple[PretrainedWeights, ...] = ()

    def source(self, model: str) -> str:
        """The version of the code behind a network's name."""
        stored = (network.source for network in self.networks if network.model == model)
        return next(stored, None) or source(model)

    def pretrained(self, path: str) -> PretrainedWeights:
        """The weights that lay at a path.

        Errors: ``OSError`` for weights that cannot be read; ``ValueError`` for metadata that cannot be right.
        """
        stored = (weights for weights in self.weights if weights.path == path)
        return next(stored, None) or _read_weights(path)

    def changes(self, now: Origins) -> list[str]:
        """What is not any more as it was, one phrase for each."""
        code = {network.model: network.source for network in self.networks}
        weights = {one.path: one.sha256 for one in self.weights}
        return [
            *(
                f"the code of {one.model} has changed"
                for one in now.networks
                if _differs(code, one.model, one.source)
            ),
            *(
                f"the weights {one.path} have changed"
                for one in now.weights
                if _differs(weights, one.path, one.sha256)
            ),
        ]


def read_origins(lineages: Iterable[Lineage]) -> Origins:
    """Read what the lineages name: networks from outside tutelage, and pretrained weights.

    Errors: those of :meth:`Origins.pretrained`, and of :func:`tutelage.models.build.source`.
    """
    generations = [generation for lineage in lineages for generation in lineage.generations]
    models = dict.fromkeys(generation.model for generation in generations if ":" in generation.model)
    paths = dict.fromkeys(generation.weights for generation in generations if generation.weights is not None)
    return Origins(
        networks=tuple(NetworkCode(model=model, source=source(model)) for model in models),
        weights=tuple(map(_read_weights, paths)),
    )


def _read_weights(path: str) -> PretrainedWeights:
    metadata = read_metadata(path)
    return PretrainedWeights(
        path=path,
        sha256=weights_digest(Path(path)),
        normalization=None if metadata is None else metadata.normalization,
        shape=None if metadata is None else (metadata.channels, metadata.height, metadata.width),
    )


def _differs(before: dict[str, str], name: str, now: str) -> bool:
    return before.get(name, now) != now
