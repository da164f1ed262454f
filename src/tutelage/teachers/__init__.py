"""Teachers: frozen functions from a batch to a prediction. Never a submodule of anything that trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from tutelage.data.batches import Batch, Normalization
from tutelage.engine import Engine
from tutelage.models.feature_hooks import FeatureHooks
from tutelage.objective import Prediction

__all__ = ["NetworkTeacher", "TeacherEnsemble"]


class NetworkTeacher:
    """A trained network that answers in eval mode, without gradient, on the very pixels its pupil sees.

    Its weights and buffers are the same before and after: nothing here can train it.
    """

    def __init__(
        self, network: nn.Module, normalization: Normalization, engine: Engine, layers: Sequence[str] = ()
    ) -> None:
        self.network = engine.place(network).eval().requires_grad_(False)
        self.normalization = normalization
        self.engine = engine
        self.taps = FeatureHooks(self.network, layers)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Prediction:
        """The logits of a batch, float32 ``[B, K]``, and the features of its ``layers``."""
        if self.network.training:  # whoever called .train() on it: a teacher's batch statistics must not move
            self.network.eval()
        with self.engine.autocast():
            logits = self.network(batch.normalized(self.normalization))
        return Prediction(logits.float(), {name: feature.float() for name, feature in self.taps.features.items()})


class TeacherEnsemble:
    """Several teachers as one: the logarithm of the mean of their probabilities, weighted by ``shares``.

    Source: arXiv 1805.04770, BANE; averaging probabilities, not logits.
    """

    def __init__(self, members: Sequence[Callable[[Batch], Prediction]], shares: Sequence[float] = ()) -> None:
        if not members or (shares and len(shares) != len(members)):
            raise ValueError(f"a committee needs teachers and a share for each, not {len(members)} and {len(shares)}")
        self.members = tuple(members)
        weights = torch.tensor(list(shares) or [1.0] * len(members))
        self.log_shares = (weights / weights.sum()).log()[:, None, None]  # brought to the device once

    def __call__(self, batch: Batch) -> Prediction:
        """The logits of a batch, float32 ``[B, K]``; a committee has no features."""
        scores = torch.stack([member(batch).logits.log_softmax(1) for member in self.members])
        self.log_shares = self.log_shares.to(scores.device)
        return Prediction(torch.logsumexp(scores + self.log_shares, 0), {})
