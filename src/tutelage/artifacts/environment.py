"""Where a model was trained, by which code, and when: what its manifest notes beside the results."""

from __future__ import annotations

import platform
import resource
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from tutelage.engine import Engine
from tutelage.version import code

REPRODUCIBILITY_KEYS = ("device", "precision", "threads", "torch", "instructions")
"""What of the surroundings must be the same for a training that continues to end in the same bits."""


def surroundings(engine: Engine) -> dict[str, Any]:
    """Where a model is trained: what decides, beside its address, whether its weights come out bit for bit.

    ``instructions`` are those that torch has chosen for this processor (AVX2, AVX512, ...).
    """
    return {
        "device": torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else platform.machine(),
        "precision": engine.precision,
        "threads": engine.threads,
        "torch": torch.__version__,
        **({"instructions": torch.backends.cpu.get_cpu_capability()} if engine.device.type == "cpu" else {}),
        "python": platform.python_version(),
        **memory(engine),
    }


def changed(before: dict[str, Any], now: dict[str, Any]) -> dict[str, list[Any]]:
    """What decides about bits and is not what it was: ``[before, now]`` by name.

    >>> changed({"threads": 1, "torch": "2.13.0"}, {"threads": 2, "torch": "2.13.0"})
    {'threads': [1, 2]}
    """
    both = [name for name in REPRODUCIBILITY_KEYS if name in before and name in now]  # versions before noted less
    return {name: [before[name], now[name]] for name in both if before[name] != now[name]}


def origin() -> dict[str, str]:
    """Which code finished a model, and when; decides nothing."""
    made_by = {"tutelage" if name == "version" else name: value for name, value in code().items()}
    return {**made_by, "finished": datetime.now(UTC).isoformat(timespec="seconds")}


def memory(engine: Engine) -> dict[str, int]:
    """The most memory held so far, in MiB: of this process, and of the device where that is another memory."""
    found = {"peak_memory_mib": peak_memory()}
    if engine.device.type == "cuda":
        found["peak_device_memory_mib"] = torch.cuda.max_memory_allocated(engine.device) // 1024**2
    return found


def peak_memory() -> int:
    """The most memory this process ever held, in MiB; torch itself is part of it."""
    status = Path("/proc/self/status")
    if status.exists():  # the peak of getrusage outlives exec on Linux: it can be that of the process before
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024**2 if sys.platform == "darwin" else 1024)
