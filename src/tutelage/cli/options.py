"""The options that commands share, each with its help written once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from tutelage.paths import runs_folder

if TYPE_CHECKING:
    from tutelage.lineage import TrainOptions
    from tutelage.study import Execution

SWITCH = Parameter(negative=())
"""An option without a value, and without a form that negates it."""
SEVERAL = Parameter(consume_multiple=True, negative=(), show_default=False)
"""An option with several values behind it."""

Run = Annotated[str, Parameter(help="A name from `tutelage list runs`.")]
Runs = Annotated[Path | None, Parameter(help="The folder of models and runs; TUTELAGE_RUNS or ./runs by default.")]
Markdown = Annotated[Path | None, Parameter(help="Write the tables to this file, as Markdown.")]
Csv = Annotated[Path | None, Parameter(help="Write the numbers to this file, as CSV with all their digits.")]
Test = Annotated[
    Literal["t", "wilcoxon", "permutation"],
    Parameter(help="The paired test behind p-values: t test, Wilcoxon's signed ranks, or all permutations of signs."),
]
Confidence = Annotated[float, Parameter(help="The confidence level of the intervals.")]
TrustRun = Annotated[
    bool,
    SWITCH,
    Parameter(help="Import the code of a network from outside tutelage where the models cannot be found without."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """How and where models are trained; nothing here changes what they learn.

    Args:
        seeds: Train with each of these seeds; 0 by default. Several run in processes of their own.
        device: cpu, cuda, mps or auto; auto is cuda where there is one, else cpu. mps has never been run.
        precision: bf16, fp32 or auto; auto takes bf16 where the processor multiplies it natively.
        threads: Threads per process; by default the processes that run at once share the cores.
        processes: The number of seeds that run at once; by default one per core, or one on a GPU.
        image_store: Where image files lie once they are decoded: resident in memory, mapped from a file that all
            processes share, or decoded anew for every view; auto takes mapped where the disk has the room.
        workers: Processes that cut training images ahead; by default as many as cores where they are decoded anew.
        strict: Refuse to resume in a different environment or on different data. Without it, tutelage warns and
            records the change.
        watch_test: Measure the test set after every epoch too. Nothing is chosen by it, and the tables say so.
        meter: Record each term's share of the gradient norm once per epoch.
        teacher_store: Keep a teacher's logits on disk and read them again as they were computed; auto does so
            where it pays. Up to 1.6 GB per teacher for CIFAR-100, in the folder of runs.
        track: Report the metrics of every epoch to tensorboard, mlflow, wandb, several of them, or none; by default
            to tensorboard where it is installed.
    """

    seeds: tuple[int, ...] | None = None
    runs: Runs = None
    device: str = "auto"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    threads: int | None = None
    processes: int | None = None
    image_store: Literal["auto", "resident", "mapped", "decoded"] = "auto"
    workers: int | None = None
    strict: bool = False
    watch_test: bool = False
    meter: bool = False
    teacher_store: Literal["off", "on", "auto"] = "off"
    track: tuple[str, ...] | None = None

    @property
    def folder(self) -> Path:
        """The folder of models and runs."""
        return self.runs or runs_folder()

    def execution(self, seeds: int) -> Execution:
        """Where so many seeds run."""
        from tutelage.study import Execution

        return Execution.plan(
            seeds,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
            processes=self.processes,
            image_store=self.image_store,
            workers=self.workers,
        )

    def train_options(self) -> TrainOptions:
        """How models are trained."""
        from tutelage.lineage import TrainOptions

        return TrainOptions(
            watch_test=self.watch_test, meter=self.meter, teacher_store=self.teacher_store, strict=self.strict
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonOptions:
    """How the arms of a study are compared, and where the comparison is written."""

    test: Test = "t"
    confidence: Confidence = 0.95
    markdown: Markdown = None
    csv: Csv = None

    def __post_init__(self) -> None:
        from tutelage.cli.console import check_files

        if not 0.0 < self.confidence < 1.0:
            raise ValueError(f"confidence is in (0, 1), not {self.confidence:g}")
        check_files(self.markdown, self.csv)


DEFAULT_COMPARISON = ComparisonOptions()
