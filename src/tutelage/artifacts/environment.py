"""The environment of a training run, which a model's manifest records: machine, versions, code and time."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from tutelage.engine import Engine
from tutelage.version import source_version

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

REPRODUCIBILITY_KEYS = ("device", "precision", "threads", "torch", "instructions")
"""What must not change for a resumed training run to end with bitwise the same weights."""


def environment(engine: Engine) -> dict[str, Any]:
    """The environment of a training run. Together with the model's address it determines the bits of its weights.

    ``instructions`` is the instruction set that torch uses on this processor (AVX2, AVX512, ...).
    """
    return {
        "device": _device_name(engine.device),
        "precision": engine.precision,
        "threads": engine.threads,
        "torch": torch.__version__,
        **({"instructions": torch.backends.cpu.get_cpu_capability()} if engine.device.type == "cpu" else {}),
        "python": platform.python_version(),
        **memory(engine),
    }


def diff(before: dict[str, Any], now: dict[str, Any]) -> dict[str, list[Any]]:
    """The reproducibility keys whose values differ, as ``[before, now]`` by name.

    >>> diff({"threads": 1, "torch": "2.13.0"}, {"threads": 2, "torch": "2.13.0"})
    {'threads': [1, 2]}
    """
    common = [name for name in REPRODUCIBILITY_KEYS if name in before and name in now]
    return {name: [before[name], now[name]] for name in common if before[name] != now[name]}


def build_info() -> dict[str, str]:
    """The version of tutelage that finished a model, and the time; for information only."""
    versions = {"tutelage" if name == "version" else name: value for name, value in source_version().items()}
    return {**versions, "finished": datetime.now(UTC).isoformat(timespec="seconds")}


def memory(engine: Engine) -> dict[str, int]:
    """Peak memory so far in MiB: of this process, and of the device where it has memory of its own."""
    peak = peak_memory()
    peaks = {} if peak is None else {"peak_memory_mib": peak}
    if engine.device.type == "cuda":
        peaks["peak_device_memory_mib"] = torch.cuda.max_memory_allocated(engine.device) // 1024**2
    return peaks


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.machine() if device.type == "cpu" else f"{platform.machine()} {device.type}"


def peak_memory() -> int | None:
    """Peak memory of this process in MiB, torch included; None on Windows, which keeps no such number for Python."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, the peak of getrusage survives exec: it can be that of the parent process
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak.split()[1]) // 1024
    if resource is None:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024**2 if sys.platform == "darwin" else 1024)
