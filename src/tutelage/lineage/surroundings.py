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
from tutelage.provenance import code


def surroundings(engine: Engine) -> dict[str, Any]:
    """Where a model is trained: what decides, beside its address, whether its weights come out bit for bit."""
    return {
        "device": torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else platform.machine(),
        "precision": engine.precision,
        "threads": engine.threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        **memory(engine),
    }


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
