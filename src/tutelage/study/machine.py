"""What a study runs on."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.engine import Engine, available_cores, has_cuda
from tutelage.lineage import TeacherStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What to run on; ``None`` threads divides the cores among the seeds that run side by side."""

    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    processes: int = 1
    teacher_store: TeacherStore = "off"

    @classmethod
    def divided(
        cls,
        seeds: int,
        device: str = "auto",
        precision: str = "auto",
        threads: int | None = None,
        teacher_store: TeacherStore = "off",
    ) -> Machine:
        """Run seeds side by side on a CPU, the cores divided among them; one after the other on a GPU.

        >>> Machine.divided(seeds=1, device="cpu").processes
        1
        """
        on_cpu = device == "cpu" or (device == "auto" and not has_cuda())
        processes = min(seeds, available_cores()) if on_cpu else 1
        if threads is None and processes > 1:
            threads = available_cores() // processes
        return cls(
            device=device,
            precision=precision,
            threads=threads,
            processes=processes,
            teacher_store=teacher_store,
        )

    def engine(self) -> Engine:
        """Resolve it in this process."""
        return Engine.choose(self.device, self.precision, self.threads)

    def describe(self, seeds: int) -> str:
        """One line on how it runs."""
        many = f"{seeds} seeds, {min(self.processes, seeds)} side by side" if seeds > 1 else "1 seed"
        return f"{many}, on {self.engine()}"


HERE = Machine()
"""This machine, one seed after the other."""
