"""Networks that take their time, or fail for one seed, as the environment says; what they learn is the same."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from tutelage.lineage.spec import generation_seed


class Slow(nn.Module):
    """Each time that it evaluates more images than it is rehearsed with it adds a byte to SLOW_MARK, and waits."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.body = nn.Linear(64 * in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        mark = os.environ.get("SLOW_MARK")
        if mark and not self.training and len(x) > 8:
            with Path(mark).open("ab") as file:
                file.write(b".")
            time.sleep(0.3)
        return self.body(x.flatten(1))


class Faulty(nn.Module):
    """For the seeds that FAULTS names (JSON, seed to fault) it fails on its way: nan, raise, memory or die."""

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
