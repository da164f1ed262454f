"""Train a study: show its events as they come, then print its results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tutelage.cli.console import log
from tutelage.cli.exit_codes import DONE, FAILED, STOPPED
from tutelage.cli.options import DEFAULT_COMPARISON, ComparisonOptions, TrainingOptions
from tutelage.cli.signals import signals_restored

if TYPE_CHECKING:
    from tutelage.lineage import TrainOptions
    from tutelage.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRequest:
    """A study to train and how.

    ``experiment`` names the experiment that it is a part of, ``note`` how it differs from that, ``command`` the
    request as it was typed; all of them may be empty.
    """

    study: Study
    options: TrainOptions
    experiment: str = ""
    note: str = ""
    command: str = ""


def train(
    request: StudyRequest, training: TrainingOptions, comparison: ComparisonOptions = DEFAULT_COMPARISON
) -> int:
    """Train what is missing of a study and print its results; returns the exit code."""
    from tutelage.analysis import load_results
    from tutelage.api import execute
    from tutelage.cli.progress import follow
    from tutelage.cli.results import print_results
    from tutelage.engine import keep_freed_memory
    from tutelage.lineage import Stopped
    from tutelage.study import studies

    study, runs = request.study, training.folder
    execution = training.execution(len(study.seeds))
    notes = [request.note] if request.note else []
    notes += _notes(study)  # before the decoded images are dropped, as they are where seeds run in processes
    keep_freed_memory()
    with signals_restored() as stop:

        def on_start() -> None:
            stop.listen()  # until now there was nothing to save
            for line in notes:
                log(line)

        events = execute(
            study,
            runs=runs,
            execution=execution,
            options=request.options,
            should_stop=stop,
            command=request.command,
            experiment=request.experiment,
            on_start=on_start,
            track=training.track,
            log=log,
        )
        try:
            failures = follow(events, study, execution)
        except Stopped as stopped:
            log(f"{stopped}; the same command continues from there")
            return STOPPED
    if failures and study.name not in studies(runs):
        return FAILED  # the folder is gone, and that has been printed
    print_results(load_results(study.name, runs), comparison, runs)
    return FAILED if failures else DONE


def _notes(study: Study) -> list[str]:
    """How images are shown, what was decided of them, and the numbered terms in the objectives of each arm, once."""
    from tutelage.data.load import dataset_info
    from tutelage.paths import data_folder
    from tutelage.recipes.mixture import mixture_notes

    lines = []
    for lineage in study.lineages:
        info = dataset_info(lineage.data, data_folder())
        shape = f"{info.channels}x{info.height}x{info.width}"
        lines += [f"{lineage.data.name}: {note}" for note in (f"{shape}, {lineage.views.describe()}", *info.notes)]
    lines += (
        f"{lineage.name}: {note}"
        for lineage in study.lineages
        for generation in lineage.generations
        for note in mixture_notes(generation.objective)
    )
    return list(dict.fromkeys(lines))
