"""Train recipes and studies: run, study, and what both are built on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.analysis import Comparison, Results, compare, load_results
from tutelage.analysis.statistics import PairedTest
from tutelage.data.pixel_map import Store
from tutelage.lineage import Lineage, TeacherStore, TrainOptions
from tutelage.paths import runs_folder
from tutelage.recipes import call, study_spec
from tutelage.study import Event, Execution, Failed, Study
from tutelage.study import run as run_study


def run(
    recipe: str | Callable[..., Lineage],
    *,
    seeds: Sequence[int] = (0,),
    runs: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    processes: int | None = None,
    image_store: Store = "auto",
    workers: int | None = None,
    watch_test: bool = False,
    meter: bool = False,
    teacher_store: TeacherStore = "off",
    strict: bool = False,
    track: Sequence[str] = (),
    **arguments: Any,
) -> Results:
    """Train what is missing of a recipe's lineage for each seed: ``tutelage run``.

    ``arguments`` are those of the recipe (a name, or a function that returns a lineage); all others are the options
    of the command, with its defaults but for ``track``: no tracker is used unless it is named. Seeds run in processes
    of their own where there are several, see :mod:`tutelage.api`.

    Errors: ``ValueError`` for a recipe, argument or value that does not exist; ``RuntimeError`` naming the seeds that
    failed and why, after the others are done.

    >>> import tempfile
    >>> results = run("baseline", epochs=1, train_size=20, runs=tempfile.mkdtemp())
    >>> (generation,) = results.generations
    >>> generation.name, 0 <= generation.test()[0].top1 <= 1
    ('baseline', True)
    """
    one_arm = Study(lineages=(call(recipe, **arguments),), seeds=tuple(seeds))
    folder = runs_folder() if runs is None else Path(runs)
    execution = Execution.plan(
        len(one_arm.seeds),
        device=device,
        precision=precision,
        threads=threads,
        processes=processes,
        image_store=image_store,
        workers=workers,
    )
    options = TrainOptions(watch_test=watch_test, meter=meter, teacher_store=teacher_store, strict=strict)
    failures = _failures(execute(one_arm, runs=folder, execution=execution, options=options, track=track))
    if failures:
        raise RuntimeError("; ".join(failures))
    return load_results(one_arm.name, folder)


def study(
    arms: Sequence[str | Mapping[str, Any]],
    *,
    seeds: Sequence[int] = (0,),
    reference: str | None = None,
    name: str | None = None,
    test: PairedTest = "t",
    confidence: float = 0.95,
    runs: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    processes: int | None = None,
    image_store: Store = "auto",
    workers: int | None = None,
    watch_test: bool = False,
    meter: bool = False,
    teacher_store: TeacherStore = "off",
    strict: bool = False,
    track: Sequence[str] = (),
    **shared: Any,
) -> Comparison:
    """Train what is missing of a study, and compare its arms with the reference: ``tutelage study``.

    An arm is the name of a recipe, or a mapping with a ``recipe`` (a name or a function), maybe a ``name``, and
    arguments of the recipe. ``shared`` arguments go to every arm whose recipe takes them and that does not set them
    itself. All others are those of :func:`run`. An arm that fails at a seed leaves the others running; the reasons
    are in the comparison's ``results.failures``.

    Errors: ``ValueError`` for a recipe, argument, reference or value that does not exist.

    >>> import tempfile
    >>> arms = ["baseline", {"recipe": "label_smoothing", "smoothing": 0.2}]
    >>> comparison = study(arms, seeds=(0, 1), epochs=1, train_size=20, processes=1, runs=tempfile.mkdtemp())
    >>> [(arm.arm, len(arm.measures)) for arm in comparison.arms]
    [('baseline', 2), ('label_smoothing', 2)]
    """
    several_arms = study_spec.study(arms, seeds=seeds, reference=reference, name=name, **shared)
    folder = runs_folder() if runs is None else Path(runs)
    execution = Execution.plan(
        len(several_arms.seeds),
        device=device,
        precision=precision,
        threads=threads,
        processes=processes,
        image_store=image_store,
        workers=workers,
    )
    options = TrainOptions(watch_test=watch_test, meter=meter, teacher_store=teacher_store, strict=strict)
    _failures(execute(several_arms, runs=folder, execution=execution, options=options, track=track))
    return compare(load_results(several_arms.name, folder), confidence=confidence, test=test)


def execute(
    study: Study,
    *,
    runs: Path,
    execution: Execution,
    options: TrainOptions = TrainOptions(),
    should_stop: Callable[[], bool] = lambda: False,
    command: str = "",
    experiment: str = "",
    on_start: Callable[[], None] = lambda: None,
    track: Sequence[str] | None = (),
    log: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> Iterator[Event]:
    """Train what is missing of any study; yields events as it goes, for progress views of one's own.

    ``on_start`` is called once the request has been checked, before the first event. ``track`` names the trackers;
    None stands for TensorBoard where it is installed. ``log`` receives what the trackers report. ``command`` and the
    name of an ``experiment`` are stored with the study.

    Errors: ``ValueError`` for a tracker that does not exist; then, as the events are read, those of
    :func:`tutelage.study.run`.

    >>> import tempfile
    >>> from tutelage.lineage import Finished
    >>> one = Study(lineages=(call("baseline", epochs=1, train_size=20),))
    >>> events = list(execute(one, runs=Path(tempfile.mkdtemp()), execution=Execution.plan(1)))
    >>> isinstance(events[-1], Finished), events[-1].arm
    (True, 'baseline')
    """
    from tutelage.track import dispatch_events, select_trackers

    trackers = select_trackers(track)
    events = run_study(
        study,
        runs=runs,
        execution=execution,
        options=options,
        should_stop=should_stop,
        command=command,
        experiment=experiment,
    )
    return dispatch_events(_announced(events, on_start), study, trackers, runs, log)


def _announced(events: Iterator[Event], on_start: Callable[[], None]) -> Iterator[Event]:
    """The events; ``on_start`` is called before the first of them."""
    for number, event in enumerate(events):
        if number == 0:
            on_start()
        yield event


def _failures(events: Iterator[Event]) -> list[str]:
    """Read all events; returns what failed."""
    failures = [event for event in events if isinstance(event, Failed)]
    return [f"seed {failure.seed}: {failure.message}" for failure in failures]
