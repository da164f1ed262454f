"""Per-channel normalization: how a network's input images are shifted, scaled and resized."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from tutelage.data.pixels import FileImages

CHUNK_PIXELS = 1 << 20


@dataclass(frozen=True, slots=True)
class Normalization:
    """The ``mean`` to subtract from each channel and the ``std`` to divide it by; pixels range from 0 to 1.

    A network with a ``size`` receives images resized to ``size x size`` (bilinear, antialiased); without one, images
    keep their size.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int | None = None

    @classmethod
    def of(cls, images: Tensor | FileImages) -> Normalization:
        """Measure uint8 images ``[N, C, H, W]``, exactly, from their histograms.

        >>> Normalization.of(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
        Normalization(mean=(0.5,), std=(0.5,), size=None)
        """
        values = torch.arange(256, dtype=torch.float64) / 255
        _, channels, height, width = images.shape
        counts = torch.zeros(channels, 256, dtype=torch.int64)
        size = max(1, CHUNK_PIXELS // (height * width))
        for start in range(0, len(images), size):  # in chunks, because bincount converts each pixel to eight bytes
            chunk = images[start : start + size]
            for channel in range(channels):
                counts[channel] += torch.bincount(chunk[:, channel].flatten(), minlength=256)
        mean, std = [], []
        for channel in range(channels):
            shares = counts[channel].double()
            shares /= shares.sum()
            average = (shares * values).sum()
            mean.append(round(average.item(), 6))
            std.append(max(round((shares * (values - average) ** 2).sum().sqrt().item(), 6), 1e-3))
        return cls(tuple(mean), tuple(std))

    def apply(self, pixels: Tensor) -> Tensor:
        """Normalize uint8 pixels ``[B, C, H, W]`` to float32, in the same memory layout.

        >>> pixels = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
        >>> Normalization((0.5,), (0.5,), size=4).apply(pixels)[0, 0, 0].tolist()
        [-1.0, -0.5, 0.5, 1.0]
        """
        values = pixels.float()
        if self.size is not None and tuple(pixels.shape[2:]) != (self.size, self.size):
            values = nn.functional.interpolate(values, (self.size, self.size), mode="bilinear", antialias=True)
        channels_last = values.permute(0, 2, 3, 1)
        if channels_last.is_contiguous():  # normalize whole rows at once: an inner loop over 3 channels is slow
            shift, scale = _shift_and_scale(self, values.shape[3], values.device)
            channels_last.view(-1, len(shift)).sub_(shift).mul_(scale)
            return values
        shift, scale = _shift_and_scale(self, 1, values.device)
        return values.sub_(shift[:, None, None]).mul_(scale[:, None, None])


@lru_cache(maxsize=64)
def _shift_and_scale(normalization: Normalization, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What to subtract from a row of ``width`` pixels, channels adjacent, and what to multiply it by."""
    mean = torch.tensor(normalization.mean, device=device).repeat(width)
    std = torch.tensor(normalization.std, device=device).repeat(width)
    return mean * 255, 1 / (std * 255)
