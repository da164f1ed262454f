"""Features of a trained network: where its last linear layer is, and what enters it for images of another dataset."""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from tutelage.data.batches import Normalization
from tutelage.engine import Engine
from tutelage.models.feature_hooks import FeatureHooks, candidates, unwrap

LUMA = (0.299, 0.587, 0.114)
"""The shares of red, green and blue in gray; source: ITU-R BT.601."""
CONVERSION = "gray by BT.601, gray three times for RGB, bilinear with antialiasing, unrounded"


def converted(pixels: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Bring images to the channels and the size of a network's own: float32 ``[B, C, H, W]``, values 0 to 255.

    Formula: gray is ``0.299 R + 0.587 G + 0.114 B``, and RGB of gray three times the same; then each image is
    resized to ``H x W`` (bilinear, with antialiasing; its proportions are not kept). Nothing is rounded, and what
    fits already is not changed.

    Shapes: ``pixels`` uint8 ``[B, 1 or 3, h, w]``; ``shape`` is ``(C, H, W)``.

    Errors: ``ValueError`` for other channels than 1 and 3, unless they are the same on both sides.

    >>> converted(torch.tensor([[[[255]], [[0]], [[0]]]], dtype=torch.uint8), (1, 1, 2)).round(decimals=3)
    tensor([[[[76.2450, 76.2450]]]])

    Source: ITU-R BT.601 for the weights of gray; the rest ours.
    """
    given, (channels, height, width) = pixels.shape[1], shape
    values = pixels.float()
    if (given, channels) == (3, 1):
        weights = torch.tensor(LUMA, device=values.device)[:, None, None]
        values = (values * weights).sum(1, keepdim=True)
    elif (given, channels) == (1, 3):
        values = values.expand(-1, 3, -1, -1)
    elif given != channels:
        raise ValueError(
            f"images of {given} channels cannot be brought to the {channels} of the network: only 1 and 3"
        )
    if tuple(values.shape[2:]) != (height, width):
        values = nn.functional.interpolate(values, (height, width), mode="bilinear", antialias=True)
    return values


@torch.no_grad()
def last_linear(network: nn.Module, shape: tuple[int, int, int]) -> str:
    """The name of the linear layer that gives a network's scores, found by one forward in eval mode.

    It is the one linear layer whose output is the network's, up to a constant for each image: so a softmax behind it
    does not hide it, and no order of modules is guessed at.

    Shapes: ``shape`` is the ``(C, H, W)`` of the images.

    Errors: ``ValueError``, naming what may be tapped instead, where no layer or more than one fits.

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
            taps = {name: stack.enter_context(FeatureHooks(network, [name])) for name in linear}
            scores = network.eval()(images)
            for name, tap in taps.items():
                try:
                    outputs[name] = tap.features[name]
                except RuntimeError:  # not called in this forward, or overwritten: not what came out
                    continue
    finally:
        network.train(training)
    found = [name for name, output in outputs.items() if _same_scores(output, scores)]
    if len(found) == 1:
        return found[0]
    if not linear:
        what, choices = "it has none", candidates(network)
    elif not found:
        what, choices = "the scores of none of them are the network's", [f"{name}:input" for name in outputs]
    else:
        what, choices = f"{' and '.join(found)} give the same scores", [f"{name}:input" for name in found]
    raise ValueError(
        f"the network's last linear layer is not clear: {what}. Name a module with --layer, NAME for what it puts "
        f"out and NAME:input for what it takes in: {', '.join(choices or candidates(network))}"
    )


def _same_scores(output: Tensor, scores: object) -> bool:
    if not isinstance(scores, Tensor) or output.shape != scores.shape or output.ndim != 2:
        return False
    return torch.allclose(output.log_softmax(1), scores.log_softmax(1), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def features(
    network: nn.Module,
    images: Tensor,
    normalization: Normalization,
    engine: Engine,
    *,
    shape: tuple[int, int, int],
    layer: str,
    batch_size: int = 500,
) -> Tensor:
    """What a network's module gives for images of any channels and size: float32 ``[N, D]`` on the CPU.

    The images are :func:`converted` to ``shape``, then normalized as the network's own images were. ``layer`` is
    ``NAME`` for a module's output or ``NAME:input`` for its input. Of a feature map ``[B, C, H, W]`` the mean over
    the pixels is taken, of tokens ``[B, T, D]`` the mean over the tokens. The network is left in eval mode.

    Shapes: ``images`` uint8 ``[N, 1 or 3, h, w]``.

    Errors: ``ValueError`` for a module that does not exist or gives no such features, for features that are not
    finite, and those of :func:`converted`.

    >>> network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    >>> images = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, 3, 4, 4)
    >>> engine = Engine.choose("cpu", "fp32")
    >>> features(network, images, Normalization((0.5,), (0.5,)), engine, shape=(1, 2, 2), layer="2:input").round()
    tensor([[-1.],
            [ 1.]])
    """
    network = engine.place(network).eval()
    found = []
    with FeatureHooks(network, [layer]) as taps:
        for part in images.split(batch_size):
            pixels = converted(part.to(engine.device), shape).contiguous(memory_format=torch.channels_last)
            with engine.autocast():
                network(normalization.apply(pixels))
            try:
                feature = taps.features[layer].float()
            except RuntimeError as error:
                raise ValueError(str(error)) from None
            found.append(_flat(feature, layer, len(part)).cpu())
    whole = torch.cat(found)
    if not whole.isfinite().all():
        raise ValueError(f"the features {layer!r} are not finite for some images")
    return whole


def _flat(feature: Tensor, layer: str, batch: int) -> Tensor:
    if feature.ndim in (2, 3, 4) and len(feature) == batch:
        return feature if feature.ndim == 2 else feature.mean(1) if feature.ndim == 3 else feature.mean((2, 3))
    raise ValueError(
        f"the features {layer!r} have the shape {list(feature.shape)} for {batch} images: expected [B, D], "
        "[B, C, H, W] or [B, T, D]"
    )
