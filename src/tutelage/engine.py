"""Where and how arithmetic runs: device, precision, threads, allocator. The seam between the loop and the machine."""

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

Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True, slots=True)
class Engine:
    """The resolved choice of device, precision and number of threads."""

    device: torch.device
    precision: Precision
    threads: int

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto", threads: int | None = None) -> Engine:
        """Take the fast choice wherever ``auto`` is given, and set torch's number of threads.

        bf16 where the processor multiplies it natively (AMX or AVX512-BF16, CUDA from Ampere on), else fp32.

        Errors: ``ValueError`` for a device that is not there or a precision that does not exist.

        >>> Engine.choose("cpu", "fp32", 1).precision
        'fp32'
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            where = torch.device(device)
            torch.empty(0, device=where)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"device {device!r} is not to be had here: {str(error).splitlines()[0]}") from None
        if precision == "auto":
            precision = "bf16" if _has_fast_bf16(where) else "fp32"
        if precision not in ("bf16", "fp32"):
            raise ValueError(f"precision is auto, bf16 or fp32, not {precision!r}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        if threads is not None and threads != torch.get_num_threads():
            torch.set_num_threads(threads)
        return cls(where, "bf16" if precision == "bf16" else "fp32", torch.get_num_threads())

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """The context a forward pass runs in."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, its weights channels-last."""
        # torch declares this overload of .to without its memory_format
        return network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def seed(self, key: int) -> None:
        """Seed whatever a network draws in its forward pass (dropout), from a key of this very step."""
        torch.default_generator.manual_seed(key)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(key)

    @property
    def records(self) -> bool:
        """Whether a step can be recorded here and replayed: on CUDA, unless ``TUTELAGE_GRAPHS=off``."""
        return self.device.type == "cuda" and os.environ.get("TUTELAGE_GRAPHS") != "off"

    def aside(self, work: Callable[[], None]) -> None:
        """Do something on a stream of its own, as what is to be recorded later must be done first."""
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            work()
        torch.cuda.current_stream(self.device).wait_stream(stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record what ``work`` would have the device do, as one CUDA graph; returns what does it.

        Errors: ``RuntimeError`` for work that asks the device for a result in between.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                work()
        except RuntimeError as error:
            raise RuntimeError(
                f"a training step could not be recorded as a CUDA graph ({str(error).splitlines()[0]}): "
                "TUTELAGE_GRAPHS=off trains without"
            ) from error
        return graph.replay

    @contextlib.contextmanager
    def unasked(self) -> Iterator[None]:
        """Inside, an operation that makes the host wait for the device is a ``RuntimeError``."""
        if self.device.type != "cuda":
            yield
            return
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)

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


def available_cores() -> int:
    """The number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Let glibc keep the memory of large tensors between steps, instead of mapping it anew each time.

    For the command's own process, before its first large tensor; ``TUTELAGE_ALLOCATOR=default`` leaves it alone.
    """
    if sys.platform != "linux" or os.environ.get("TUTELAGE_ALLOCATOR") == "default":
        return
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no mapping for large blocks
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
        libc.mallopt(-2, 1 << 26)  # M_TOP_PAD


def give_back_freed_memory() -> None:
    """Return to the system what was freed and kept: after reading a set, whose copies would stay to the end."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def has_cuda() -> bool:
    """Whether there is a GPU that CUDA can use."""
    return torch.cuda.is_available()
