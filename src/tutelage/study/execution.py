"""Where a study runs: device, precision, threads, and how many seeds at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from tutelage.data.pixel_map import Reading, Store
from tutelage.engine import Engine, available_cores, has_cuda
from tutelage.errors import unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Where a study runs; :meth:`plan` makes it. ``threads`` is per process, None for torch's default.

    ``image_store`` and ``workers`` say how image files are read, see :class:`tutelage.data.load.Reading`.
    """

    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    processes: int = 1
    image_store: Store = "auto"
    workers: int | None = None

    @classmethod
    def plan(
        cls,
        seeds: int,
        *,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        processes: int | None = None,
        image_store: Store = "auto",
        workers: int | None = None,
    ) -> Execution:
        """Plan the execution of so many seeds, for Python and the command alike.

        ``processes`` seeds run at once, each in a process of its own: by default one per core on a CPU, and one on a
        GPU. Where ``threads`` is not set, processes that run side by side divide the cores.

        Errors: ``ValueError`` for fewer than one process, fewer than no workers, and an unknown image store.

        >>> Execution.plan(1, device="cpu").processes
        1
        >>> Execution.plan(5, device="cpu", processes=3).processes
        3
        """
        if processes is not None and processes < 1:
            raise ValueError(f"processes must be at least 1, not {processes}")
        if workers is not None and workers < 0:
            raise ValueError(f"workers must be at least 0, not {workers}")
        if image_store not in get_args(Store):
            raise unknown("image store", image_store, get_args(Store))
        on_cpu = device == "cpu" or (device == "auto" and not has_cuda())
        processes = min(seeds, processes or (available_cores() if on_cpu else 1))
        if threads is None and processes > 1:
            threads = max(1, available_cores() // processes)
        return cls(
            device=device,
            precision=precision,
            threads=threads,
            processes=processes,
            image_store=image_store,
            workers=workers,
        )

    def reading(self) -> Reading:
        """How this process reads image files."""
        return Reading(store=self.image_store, workers=self.workers, processes=self.processes)

    def engine(self) -> Engine:
        """Resolve it in this process."""
        return Engine.choose(self.device, self.precision, self.threads)

    def describe(self, seeds: int) -> str:
        """One line on how so many seeds run."""
        count = f"{seeds} seeds, {min(self.processes, seeds)} side by side" if seeds > 1 else "1 seed"
        return f"{count}, on {self.engine()}"
