"""Where and how arithmetic runs: device, precision, threads, allocator. Everything that depends on the machine."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from tutelage.errors import memory_fault

Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True, slots=True)
class Engine:
    """A device, a precision and a number of threads."""

    device: torch.device
    precision: Precision
    threads: int

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto", threads: int | None = None) -> Engine:
        """Choose the fastest device and precision for ``auto``, and set torch's number of threads.

        The precision is bf16 where the processor multiplies it natively (AMX or AVX512-BF16, CUDA from Ampere on),
        else fp32. ``auto`` never chooses ``mps``, the GPU of a Mac: nothing here was ever run on one.

        Errors: ``ValueError`` for a device that is not available, or a precision that does not exist or not there.

        >>> Engine.choose("cpu", "fp32", 1).precision
        'fp32'
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            torch_device = torch.device(device)
            torch.empty(0, device=torch_device)
        except (RuntimeError, AssertionError) as error:
            if memory_fault(error) is not None:  # of a device that others use
                raise
            raise ValueError(f"device {device!r} is not available: {str(error).splitlines()[0]}") from None
        if precision == "auto":
            precision = "bf16" if _has_fast_bf16(torch_device) else "fp32"
        if precision not in ("bf16", "fp32"):
            raise ValueError(f"precision must be auto, bf16 or fp32, not {precision!r}")
        if precision == "bf16" and torch_device.type not in ("cpu", "cuda"):
            raise ValueError(f"precision bf16 is for cpu and cuda: on {torch_device} use fp32")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        if threads is not None and threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        return cls(torch_device, "bf16" if precision == "bf16" else "fp32", torch.get_num_threads())

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """The context in which to run a forward pass."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, with its weights channels-last."""
        # torch declares this overload of .to without its memory_format
        return network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def seed(self, key: int) -> None:
        """Seed what a network draws in its forward pass (dropout) with the key of a training step."""
        torch.default_generator.manual_seed(key)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(key)
        elif self.device.type == "mps":
            torch.mps.manual_seed(key)

    @property
    def can_record_steps(self) -> bool:
        """Whether training steps can be recorded and replayed: on CUDA, unless ``TUTELAGE_GRAPHS=off``."""
        return self.device.type == "cuda" and os.environ.get("TUTELAGE_GRAPHS") != "off"

    def on_side_stream(self, work: Callable[[], None]) -> None:
        """Run ``work`` on a stream of its own, as CUDA requires of the runs before it is recorded."""
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            work()
        torch.cuda.current_stream(self.device).wait_stream(stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record the device operations of ``work`` as one CUDA graph; returns a function that replays it.

        Errors: ``RuntimeError`` if ``work`` waits for a result of the device.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                work()
        except RuntimeError as error:
            raise RuntimeError(
                f"a training step could not be recorded as a CUDA graph ({str(error).splitlines()[0]}): "
                "set TUTELAGE_GRAPHS=off to train without"
            ) from error
        return graph.replay

    @contextlib.contextmanager
    def forbid_host_sync(self) -> Iterator[None]:
        """Raise a ``RuntimeError`` for any operation within the block that makes the host wait for the device."""
        if self.device.type != "cuda":
            yield
            return
        previous = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(previous)

    def __str__(self) -> str:
        threads = f", {self.threads} thread{'s' if self.threads > 1 else ''}" if self.device.type == "cpu" else ""
        return f"{self.device}, {self.precision}, channels-last{threads}"


def _has_fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def widest_float(device: torch.device) -> torch.dtype:
    """The type for long sums on a device: float64, but float32 on ``mps``, which has no other.

    >>> widest_float(torch.device("cpu")), widest_float(torch.device("mps"))
    (torch.float64, torch.float32)
    """
    return torch.float32 if device.type == "mps" else torch.float64


def available_cores() -> int:
    """The number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Let glibc keep the memory of large tensors between steps, instead of mapping it again each time.

    Only for the command's own process, before its first large tensor. ``TUTELAGE_ALLOCATOR=default`` disables it.
    """
    if sys.platform != "linux" or os.environ.get("TUTELAGE_ALLOCATOR") == "default":
        return
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no mapping for large blocks
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
        libc.mallopt(-2, 1 << 26)  # M_TOP_PAD


def release_freed_memory() -> None:
    """Return freed memory to the system: after loading a dataset, whose temporary copies would otherwise stay."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def has_cuda() -> bool:
    """Whether a CUDA GPU is available."""
    return torch.cuda.is_available()
