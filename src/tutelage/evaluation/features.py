"""Features of a trained network on images of any dataset, by default the input of its last linear layer."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from tutelage.data.dataset import Images, batches_of
from tutelage.data.normalization import Normalization
from tutelage.engine import Engine
from tutelage.errors import listing
from tutelage.models.feature_hooks import FeatureHooks, candidates, unwrap

LUMA = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in gray; source: ITU-R BT.601."""
CONVERSION = "gray by BT.601, gray three times for RGB, bilinear with antialiasing, unrounded"


def converted(pixels: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Convert images to the channels and size a network was trained on: float32 ``[B, C, H, W]``, values 0 to 255.

    Formula: gray is ``0.299 R + 0.587 G + 0.114 B``, and RGB repeats gray three times; then each image is resized to
    ``H x W`` (bilinear, with antialiasing; the aspect ratio is not preserved). Nothing is rounded, and images that
    fit are unchanged.

    Shapes: ``pixels`` uint8 ``[B, 1 or 3, h, w]``; ``shape`` is ``(C, H, W)``.

    Errors: ``ValueError`` for numbers of channels other than 1 and 3, unless they are equal.

    >>> converted(torch.tensor([[[[255]], [[0]], [[0]]]], dtype=torch.uint8), (1, 1, 2)).round(decimals=3)
    tensor([[[[76.2450, 76.2450]]]])

    Source: ITU-R BT.601 for the weights of gray; the rest ours.
    """
    channels, height, width = shape
    values = pixels.float()
    if (pixels.shape[1], channels) == (3, 1):
        weights = torch.tensor(LUMA, device=values.device)[:, None, None]
        values = (values * weights).sum(1, keepdim=True)
    elif (pixels.shape[1], channels) == (1, 3):
        values = values.expand(-1, 3, -1, -1)
    elif pixels.shape[1] != channels:
        raise ValueError(
            f"images of {pixels.shape[1]} channels cannot be converted to the {channels} of the network: "
            "only 1 and 3 can"
        )
    if tuple(values.shape[2:]) != (height, width):
        values = nn.functional.interpolate(values, (height, width), mode="bilinear", antialias=True)
    return values


@torch.no_grad()
def last_linear(network: nn.Module, shape: tuple[int, int, int]) -> str:
    """Find the linear layer that computes a network's logits, by one forward pass in eval mode.

    It is the only linear layer whose output equals the network's up to a constant per image: a softmax after it does
    not hide it, and the order of modules does not matter.

    Shapes: ``shape`` is the ``(C, H, W)`` of the images.

    Errors: ``ValueError`` naming the modules to choose from, where no layer or more than one fits.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.LogSoftmax(1))
    >>> last_linear(network, (1, 2, 2))
    '3'
    """
    linear = [name for name, module in unwrap(network).named_modules() if name and isinstance(module, nn.Linear)]
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    training = network.training
    outputs: dict[str, Tensor] = {}
    try:
        with ExitStack() as stack:
            hooks = {name: stack.enter_context(FeatureHooks(network, [name])) for name in linear}
            scores = network.eval()(images)
            for name, hook in hooks.items():
                try:
                    outputs[name] = hook.features[name]
                except RuntimeError:  # not called in this pass, or overwritten: not the output
                    continue
    finally:
        network.train(training)
    matches = [name for name, output in outputs.items() if _same_scores(output, scores)]
    if len(matches) == 1:
        return matches[0]
    if not linear:
        reason, choices = "it has none", candidates(network)
    elif not matches:
        reason, choices = "none of them computes the network's scores", [f"{name}:input" for name in outputs]
    else:
        reason, choices = f"{' and '.join(matches)} compute the same scores", [f"{name}:input" for name in matches]
    raise ValueError(
        f"the network's last linear layer is not clear: {reason}. Name a module with --layer, NAME for its output or "
        f"NAME:input for its input: {listing(choices or candidates(network))}"
    )


def _same_scores(output: Tensor, scores: object) -> bool:
    if not isinstance(scores, Tensor) or output.shape != scores.shape or output.ndim != 2:
        return False
    return torch.allclose(output.log_softmax(1), scores.log_softmax(1), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def features(
    network: nn.Module,
    images: Images,
    normalization: Normalization,
    engine: Engine,
    *,
    shape: tuple[int, int, int],
    layer: str,
    batch_size: int = 500,
) -> Tensor:
    """Compute the features of a layer for images of any channels and size: float32 ``[N, D]`` on the CPU.

    The images are :func:`converted` to ``shape``, then normalized as the images the network was trained on. ``layer``
    is ``NAME`` for a module's output or ``NAME:input`` for its input. A feature map ``[B, C, H, W]`` is averaged over
    its pixels, tokens ``[B, T, D]`` over the tokens. The network is left in eval mode.

    Shapes: ``images`` uint8 ``[N, 1 or 3, h, w]``.

    Errors: ``ValueError`` for a module that does not exist or whose features have another shape, for features that
    are not finite, and those of :func:`converted`.

    >>> network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    >>> images = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, 3, 4, 4)
    >>> engine = Engine.choose("cpu", "fp32")
    >>> features(network, images, Normalization((0.5,), (0.5,)), engine, shape=(1, 2, 2), layer="2:input").round()
    tensor([[-1.],
            [ 1.]])
    """
    network = engine.place(network).eval()
    parts = []
    with FeatureHooks(network, [layer]) as hooks:
        for batch in batches_of(images, batch_size):
            pixels = converted(batch.to(engine.device), shape).contiguous(memory_format=torch.channels_last)
            with engine.autocast():
                network(normalization.apply(pixels))
            try:
                feature = hooks.features[layer].float()
            except RuntimeError as error:
                raise ValueError(str(error)) from None
            parts.append(_pooled(feature, layer, len(batch)).cpu())
    result = torch.cat(parts)
    if not result.isfinite().all():
        raise ValueError(f"the features {layer!r} are not finite for some images")
    return result


def _pooled(feature: Tensor, layer: str, batch: int) -> Tensor:
    if feature.ndim in (2, 3, 4) and len(feature) == batch:
        return feature if feature.ndim == 2 else feature.mean(1) if feature.ndim == 3 else feature.mean((2, 3))
    raise ValueError(
        f"the features {layer!r} have the shape {list(feature.shape)} for {batch} images: expected [B, D], "
        "[B, C, H, W] or [B, T, D]"
    )
