"""One seed of a study: its arms one after the other, each told as it goes."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tutelage import storage
from tutelage.data import Splits
from tutelage.data.load import load
from tutelage.engine import Engine
from tutelage.lineage import Lineage, Progress, Stopped, models_of, train
from tutelage.paths import data_folder
from tutelage.study.execution import Execution
from tutelage.study.spec import Study
from tutelage.training import NotFinite

_BAD_INPUT = (ValueError, storage.InUse, NotFinite, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a running study tells, in plain values that cross between processes.

    ``phase`` is ``kept``, ``training``, ``measuring`` or ``finished`` (see ``lineage.Progress``), or ``warning``,
    ``failed`` or ``stopped``, with ``text``; a seed whose process died has failed in no ``lineage`` in particular.
    ``at_chance`` is ``lineage.Model.at_chance`` of a finished model.
    ``lines`` are the epochs' measures that no event before it told (``metrics.jsonl``), ``measures`` those of the
    finished model by set and name (``test/top1``), ``address`` is the model's.
    """

    seed: int
    phase: str
    lineage: str = ""
    generation: str = ""
    place: int = 0
    generations: int = 0
    step: int = 0
    steps: int = 0
    images: int = 0
    seconds: float = 0.0
    loss: float | None = None
    top1: float | None = None
    at_chance: bool = False
    text: str = ""
    address: str = ""
    lines: tuple[dict[str, float], ...] = ()
    measures: dict[str, float] = field(default_factory=dict)


def load_all(study: Study) -> list[Splits]:
    """The data of each lineage; equal descriptions are loaded once."""
    found = {lineage.data: None for lineage in study.lineages}
    sets = {data: load(data, data_folder()) for data in found}
    return [sets[lineage.data] for lineage in study.lineages]


def run_seed(
    study: Study,
    seed: int,
    loaded: list[Splits],
    runs: Path,
    engine: Engine,
    machine: Execution,
    should_stop: Callable[[], bool],
) -> Iterator[Event]:
    """The arms of one seed, one after the other; a fault that the user can act on ends its arm and no other."""
    broken: dict[str, str] = {}  # address of the generation that failed -> its arm
    for lineage, splits in zip(study.lineages, loaded, strict=True):
        models = models_of(lineage, seed, splits.fingerprint, engine.precision, runs)
        if shared := next((model.address for model in models if model.address in broken), None):
            text = f"it needs the generation that failed in {broken[shared]}"
            yield Event(seed=seed, phase="failed", lineage=lineage.name, text=text)
            continue
        warnings: list[str] = []
        fault: str | None = None
        try:
            for progress in train(
                lineage,
                seed,
                splits,
                runs=runs,
                engine=engine,
                should_stop=should_stop,
                warn=warnings.append,
                watch_test=study.watch_test,
                meter=study.meter,
                teacher_store=machine.teacher_store,
                strict=machine.strict,
            ):
                while warnings:
                    yield Event(seed=seed, phase="warning", lineage=lineage.name, text=warnings.pop(0))
                yield _event(lineage, seed, progress)
        except Stopped:
            raise
        except Exception as error:
            if os.environ.get("TUTELAGE_TRACEBACK") and not isinstance(error, _BAD_INPUT):
                raise
            if isinstance(error, NotFinite):  # it would be so again; whatever else it was may have passed
                broken[next(model.address for model in models if not model.finished)] = lineage.name
            fault = told(error)
        while warnings:
            yield Event(seed=seed, phase="warning", lineage=lineage.name, text=warnings.pop(0))
        if fault is not None:  # told here, where nothing of what failed holds memory any more
            yield Event(seed=seed, phase="failed", lineage=lineage.name, text=fault)


def told(error: Exception) -> str:
    """What happened, in one line; of what nobody foresaw also where."""
    if isinstance(error, _BAD_INPUT):
        return f"{error}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(f"{error}".split())[:300]
    return f"{type(error).__name__}{f': {text}' if text else ''} ({Path(last.filename).name}, line {last.lineno})"


def _event(lineage: Lineage, seed: int, progress: Progress) -> Event:
    record = progress.record
    evaluation = progress.model.evaluation() if progress.phase in ("kept", "finished") else {}
    measures = {
        f"{name}/{measure}": value
        for name, measured in evaluation.items()
        for measure, value in measured.items()
        if isinstance(value, float)
    }
    return Event(
        seed=seed,
        phase=progress.phase,
        lineage=lineage.name,
        generation=progress.generation.name,
        place=progress.place,
        generations=len(lineage.generations),
        step=record.step if record else 0,
        steps=record.steps if record else 0,
        images=record.images if record else 0,
        seconds=progress.seconds,
        loss=record.metrics["loss"] if record and record.metrics else None,
        top1=measures.get("test/top1"),
        at_chance=bool(measures) and progress.model.at_chance(),
        text=_shares(record.metrics) if record and record.metrics else "",
        address=progress.model.address,
        lines=progress.lines,
        measures=measures,
    )


def _shares(metrics: dict[str, float]) -> str:
    """The terms' shares of the gradient, where they are metered."""
    shares = {name.removeprefix("share/"): value for name, value in metrics.items() if name.startswith("share/")}
    return ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
