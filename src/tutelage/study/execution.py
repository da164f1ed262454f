"""What a study runs on."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.engine import Engine, available_cores, has_cuda
from tutelage.lineage import TeacherStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What to run on; ``None`` threads divides the cores among the seeds that run side by side.

    ``strict`` refuses to continue what was begun in another way than it would go on: see ``lineage.train``.
    """

    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    processes: int = 1
    teacher_store: TeacherStore = "off"
    strict: bool = False

    @classmethod
    def divided(
        cls,
        seeds: int,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        teacher_store: TeacherStore = "off",
        strict: bool = False,
        side_by_side: int | None = None,
    ) -> Execution:
        """Run ``side_by_side`` seeds at once: by default as many as cores on a CPU, which they divide, one on a GPU.

        Errors: ``ValueError`` for fewer than one.

        >>> Execution.divided(seeds=1, device="cpu").processes
        1
        >>> Execution.divided(seeds=5, device="cpu", side_by_side=3).processes
        3
        """
        if side_by_side is not None and side_by_side < 1:
            raise ValueError(f"side_by_side must be at least 1, not {side_by_side}")
        on_cpu = device == "cpu" or (device == "auto" and not has_cuda())
        processes = min(seeds, side_by_side or (available_cores() if on_cpu else 1))
        if threads is None and processes > 1:
            threads = max(1, available_cores() // processes)
        return cls(
            device=device,
            precision=precision,
            threads=threads,
            processes=processes,
            teacher_store=teacher_store,
            strict=strict,
        )

    def engine(self) -> Engine:
        """Resolve it in this process."""
        return Engine.choose(self.device, self.precision, self.threads)

    def describe(self, seeds: int) -> str:
        """One line on how it runs."""
        many = f"{seeds} seeds, {min(self.processes, seeds)} side by side" if seeds > 1 else "1 seed"
        return f"{many}, on {self.engine()}"


HERE = Execution()
"""This machine, one seed after the other."""
