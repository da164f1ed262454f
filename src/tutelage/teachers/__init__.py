"""Teachers: frozen functions from a batch to a prediction. Never a submodule of anything that trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from tutelage.data.batches import Batch
from tutelage.data.normalization import Normalization
from tutelage.engine import Engine
from tutelage.models.feature_hooks import FeatureHooks
from tutelage.objective import Prediction

__all__ = ["NetworkTeacher", "TeacherEnsemble"]


class NetworkTeacher:
    """A trained network in eval mode, without gradients, applied to exactly the pixels that its student sees.

    Its weights and buffers stay unchanged: nothing here can train it.
    """

    def __init__(
        self, network: nn.Module, normalization: Normalization, engine: Engine, layers: Sequence[str] = ()
    ) -> None:
        self.network = engine.place(network).eval().requires_grad_(False)
        self.normalization = normalization
        self.engine = engine
        self.hooks = FeatureHooks(self.network, layers)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Prediction:
        """The logits of a batch, float32 ``[B, K]``, and the features of its ``layers``."""
        if self.network.training:  # someone called .train() on it: its batch statistics must not change
            self.network.eval()
        with self.engine.autocast():
            logits = self.network(batch.normalized(self.normalization))
        return Prediction(logits.float(), {name: feature.float() for name, feature in self.hooks.features.items()})


class TeacherEnsemble:
    """Several teachers as one: the logarithm of the mean of their probabilities, weighted by ``shares``.

    Source: arXiv 1805.04770, BANE; averaging probabilities, not logits.
    """

    def __init__(self, members: Sequence[Callable[[Batch], Prediction]], shares: Sequence[float] = ()) -> None:
        if not members or (shares and len(shares) != len(members)):
            raise ValueError(
                "an ensemble needs one or more teachers, with one share each or no shares, "
                f"not {len(members)} teachers and {len(shares)} shares"
            )
        self.members = tuple(members)
        weights = torch.tensor(list(shares) or [1.0] * len(members))
        self.log_shares = (weights / weights.sum()).log()[:, None, None]  # moved to the device on first use

    def __call__(self, batch: Batch) -> Prediction:
        """The logits of a batch, float32 ``[B, K]``; an ensemble has no features."""
        scores = torch.stack([member(batch).logits.log_softmax(1) for member in self.members])
        self.log_shares = self.log_shares.to(scores.device)
        return Prediction(torch.logsumexp(scores + self.log_shares, 0), {})
