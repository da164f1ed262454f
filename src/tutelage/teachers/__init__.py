"""Teachers: frozen functions from a batch to logits. Never a submodule of anything that trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tutelage.data.batches import Batch, Normalization
from tutelage.engine import Engine

__all__ = ["Committee", "NetworkTeacher"]


class NetworkTeacher:
    """A trained network that answers in eval mode, without gradient, on the very pixels its pupil sees.

    Its weights and buffers are the same before and after: nothing here can train it.
    """

    def __init__(self, network: nn.Module, normalization: Normalization, engine: Engine) -> None:
        self.network = engine.place(network).eval().requires_grad_(False)
        self.normalization = normalization
        self.engine = engine

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """The logits of a batch, float32 ``[B, K]``."""
        if self.network.training:  # whoever called .train() on it: a teacher's batch statistics must not move
            self.network.eval()
        with self.engine.autocast():
            logits: Tensor = self.network(batch.normalized(self.normalization))
        return logits.float()


class Committee:
    """Several teachers as one: the logarithm of the mean of their probabilities.

    Source: arXiv 1805.04770, BANE; averaging probabilities, not logits.
    """

    def __init__(self, members: Sequence[Callable[[Batch], Tensor]]) -> None:
        if not members:
            raise ValueError("a committee needs at least one teacher")
        self.members = tuple(members)

    def __call__(self, batch: Batch) -> Tensor:
        """The logits of a batch, float32 ``[B, K]``."""
        probs = [torch.log_softmax(member(batch), 1) for member in self.members]
        return torch.logsumexp(torch.stack(probs), 0) - torch.tensor(len(probs)).log()
