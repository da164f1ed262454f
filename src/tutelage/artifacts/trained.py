"""A finished model as a network again: what its folder says of it, and where its features are."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from tutelage.artifacts.model import Model
from tutelage.evaluation.features import last_linear
from tutelage.models.build import build
from tutelage.models.feature_hooks import resolve
from tutelage.models.weights import fit_weights

Shape = tuple[int, int, int]


class Trained:
    """What a finished model's folder says of it.

    ``shape`` is the ``(C, H, W)`` of the images it was trained on.
    """

    def __init__(self, model: Model) -> None:
        made_of = model.made_of()
        self.model = model
        self.name = model.network()
        self.num_classes = len(made_of["class_names"])
        self.shape: Shape = (made_of["input"][0], made_of["input"][1], made_of["input"][2])
        self.precision = str(made_of["precision"])
        self.normalization = model.normalization()

    def network(self) -> nn.Module:
        """Build the network and put the weights into it.

        Errors: ``ValueError`` for a network that is not to be had, and for weights that do not fit it.
        """
        network = build(self.name, self.num_classes, self.shape[0], seed=0)
        fit_weights(network, self.model.weights(), str(self.model.folder))
        return network

    def layer(self, network: nn.Module, layers: Sequence[str]) -> str:
        """The module whose output (``NAME``) or input (``NAME:input``) the features are.

        It is the first of ``layers`` that the network has; without any, the input of its last linear layer.

        Errors: ``ValueError`` where it has none of them, and those of ``evaluation.features.last_linear``.
        """
        channels, height, width = self.shape
        size = self.normalization.size
        faults = []
        try:
            if not layers:
                return f"{last_linear(network, (channels, size or height, size or width))}:input"
            for layer in layers:
                try:
                    resolve(network, layer.removesuffix(":input"))
                    return layer
                except ValueError as error:
                    faults.append(error)
            raise faults[0]
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None
