"""Build the network of an exported model, with its weights and its normalization."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tutelage.artifacts.metadata import ModelMetadata
from tutelage.data import Normalization
from tutelage.models.build import build
from tutelage.models.external import is_external
from tutelage.models.weights import fit_weights


class NormalizedNetwork(nn.Module):
    """A network behind its normalization, so that it takes images with values from 0 to 1.

    Formula: ``logits = network((resize(images) - mean) / std)``, with mean and std per channel. Images are resized
    only where the normalization has a ``size`` and theirs is another one.

    Shapes: images float32 ``[N, C, H, W]``, logits float32 ``[N, K]``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, normalization: Normalization) -> None:
        super().__init__()
        self.network = network
        self.size = normalization.size
        self.register_buffer("mean", torch.tensor(normalization.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(normalization.std)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """The logits of images."""
        if self.size is not None and tuple(images.shape[2:]) != (self.size, self.size):
            images = nn.functional.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


def imports_user_code(model: str) -> bool:
    """Whether building a network of this name imports code other than that of tutelage and the libraries it supports.

    >>> imports_user_code("resnet20"), imports_user_code("timm:resnet18"), imports_user_code("mine.py:net")
    (False, False, True)
    """
    return ":" in model and not is_external(model)


def build_network(
    metadata: ModelMetadata, weights: dict[str, Tensor], where: str, *, trust: bool
) -> NormalizedNetwork:
    """Build the network that the metadata names, with its weights, in eval mode; ``where`` names it in errors.

    Errors: ``ValueError`` for a network that would import user code without ``trust``, for one that cannot be built,
    and for weights that do not fit it.
    """
    if imports_user_code(metadata.model) and not trust:
        raise ValueError(
            f"{where} needs the network {metadata.model!r}, and importing it runs its code: "
            "add --trust if you trust its author, or use its .onnx file"
        )
    network = build(metadata.model, len(metadata.class_names), metadata.channels, seed=0)
    fit_weights(network, weights, where)
    return NormalizedNetwork(network, metadata.normalization).eval().requires_grad_(False)
