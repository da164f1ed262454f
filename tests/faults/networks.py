"""Networks that fail, freeze or wait on request: in the same way on every processor, at every speed."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import ClassVar

import torch
from torch import Tensor, nn

from tutelage.lineage.addresses import generation_seed


class Freezing(nn.Module):
    """A network that stops its process (SIGSTOP) once, where FREEZE says; what it learns does not change.

    ``measuring@N``: at the N-th evaluation of more images than in the dry run. ``P@N``: in the N-th
    step that this process takes of generation P at seed 0. So a test that comes late finds it where it should be.
    """

    counts: ClassVar[dict[str, int]] = {}

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.body = nn.Linear(64 * in_channels, num_classes)
        places = {generation_seed(0, place): f"{place}" for place in range(3)}
        self.place = places.get(torch.initial_seed(), "")

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 8:
            where = self.place if self.training else "measuring"
            self.counts[where] = self.counts.get(where, 0) + 1
            if os.environ.get("FREEZE") == f"{where}@{self.counts[where]}":
                os.kill(os.getpid(), signal.SIGSTOP)
        return self.body(x.flatten(1))


class Paced(nn.Module):
    """A network that needs at least two milliseconds per step: an epoch of 300 images, one per step, takes 0.6 s."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.body = nn.Linear(64 * in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            time.sleep(0.002)
        return self.body(x.flatten(1))


class Blinded(nn.Module):
    """A network that learns, until a step that is too large closes its gate; then it scores all images alike.

    Whether a network of another kind still tells images apart after its loss has exploded is decided by the rounding
    of the processor.
    """

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.body, self.bias = nn.Linear(64 * in_channels, num_classes), nn.Parameter(torch.zeros(num_classes))

    def forward(self, x: Tensor) -> Tensor:
        gate = (1.0 - self.body.weight.square().mean()).clamp_min(0.0)
        return gate * self.body(x.flatten(1)) + self.bias


class Threaded(nn.Module):
    """A network whose results depend on the number of threads, as with some kernels on some processors."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.body = nn.Linear(64 * in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x.flatten(1)) * (1.0 + torch.get_num_threads() / 1024)


class Faulty(nn.Module):
    """A network that fails in training for the seeds in FAULTS (JSON: seed to fault): nan, raise, memory or die."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.body = nn.Linear(64 * in_channels, num_classes)
        faults = json.loads(os.environ.get("FAULTS", "{}"))
        seeds = {generation_seed(int(seed), 0): fault for seed, fault in faults.items()}
        self.fault = seeds.get(torch.initial_seed())

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) > 8:
            match self.fault:
                case "nan":
                    return self.body(x.flatten(1)) * torch.nan
                case "raise":
                    raise KeyError("a layer\nof this name")
                case "memory":
                    torch.empty(2**60, dtype=torch.uint8)
                case "die":
                    os.kill(os.getpid(), signal.SIGKILL)
        return self.body(x.flatten(1))
