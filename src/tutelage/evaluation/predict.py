"""Run a network over a set of images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tutelage.data.dataset import Images, batches_of
from tutelage.data.normalization import Normalization
from tutelage.engine import Engine


@torch.no_grad()
def predict(
    network: nn.Module,
    images: Images,
    normalization: Normalization,
    engine: Engine,
    batch_size: int = 500,
    pulse: Callable[[], None] = lambda: None,
) -> Tensor:
    """Compute the logits of uint8 images ``[N, C, H, W]``, not augmented: float32 ``[N, K]`` on the CPU.

    ``pulse`` is called between batches and may raise to stop. The network is left in eval mode.
    """
    network = engine.place(network).eval()
    parts = []
    for batch in batches_of(images, batch_size):
        pixels = batch.to(engine.device).contiguous(memory_format=torch.channels_last)
        with engine.autocast():
            logits = network(normalization.apply(pixels))
        parts.append(logits.float().cpu())
        pulse()
    return torch.cat(parts)
