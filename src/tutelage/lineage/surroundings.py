"""Where a model was trained, by which code, and when: what its manifest notes beside the results."""

from __future__ import annotations

import platform
import resource
import sys
from datetime import UTC, datetime
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
        "peak_memory_mib": _peak_memory(),
    }


def origin() -> dict[str, str]:
    """Which code finished a model, and when; decides nothing."""
    made_by = {"tutelage" if name == "version" else name: value for name, value in code().items()}
    return {**made_by, "finished": datetime.now(UTC).isoformat(timespec="seconds")}


def _peak_memory() -> int:
    """The most memory this process ever held, in MiB; torch itself is part of it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (1024**2 if sys.platform == "darwin" else 1024)
