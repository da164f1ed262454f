"""One seed of a study: its arms one after the other."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tutelage import storage
from tutelage.data import Splits
from tutelage.data.load import load
from tutelage.engine import Engine
from tutelage.errors import memory_advice, memory_fault
from tutelage.lineage import Stopped, TrainOptions, models_of, train
from tutelage.paths import data_folder
from tutelage.study.events import Event, Failed, Warned
from tutelage.study.execution import Execution
from tutelage.study.spec import Study
from tutelage.training import NotFinite

_EXPECTED = (ValueError, storage.InUse, NotFinite, OSError)


def load_all(study: Study, execution: Execution = Execution()) -> list[Splits]:
    """The data of each lineage; equal descriptions are loaded once."""
    reading = execution.reading()
    configs = dict.fromkeys(lineage.data for lineage in study.lineages)
    sets = {data: load(data, data_folder(), reading) for data in configs}
    return [sets[lineage.data] for lineage in study.lineages]


def run_seed(
    study: Study,
    seed: int,
    splits: list[Splits],
    runs: Path,
    engine: Engine,
    options: TrainOptions,
    should_stop: Callable[[], bool],
) -> Iterator[Event]:
    """Train the arms of one seed; a fault that the user can act on ends its arm and no other.

    The lineages must have passed a dry run.
    """
    failed: dict[str, str] = {}  # the address of a generation that failed -> its arm
    for lineage, data in zip(study.lineages, splits, strict=True):
        models = models_of(lineage, seed, data.fingerprint, engine.precision, runs)
        if shared := next((model.address for model in models if model.address in failed), None):
            message = f"it needs the generation that failed in {failed[shared]}"
            yield Failed(seed=seed, arm=lineage.name, message=message)
            continue
        warnings: list[str] = []
        fault: str | None = None
        events = train(
            lineage,
            seed,
            data,
            runs=runs,
            engine=engine,
            options=options,
            should_stop=should_stop,
            warn=warnings.append,
            check=False,
        )
        try:
            for event in events:
                while warnings:
                    yield Warned(seed=seed, arm=lineage.name, message=warnings.pop(0))
                yield event
        except Stopped:
            raise
        except Exception as error:
            if os.environ.get("TUTELAGE_TRACEBACK") and not isinstance(error, _EXPECTED):
                raise
            if isinstance(error, NotFinite):  # it would be so again; any other cause may have passed
                failed[next(model.address for model in models if not model.finished)] = lineage.name
            fault = describe(error)
        while warnings:
            yield Warned(seed=seed, arm=lineage.name, message=warnings.pop(0))
        if fault is not None:  # reported here, where nothing of what failed holds memory any more
            yield Failed(seed=seed, arm=lineage.name, message=fault)


def describe(error: Exception) -> str:
    """One line on an error; for one that nobody foresaw, also where it was raised."""
    if (fault := memory_fault(error)) is not None:
        return memory_advice(fault)
    if isinstance(error, _EXPECTED):
        return f"{error}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(f"{error}".split())[:300]
    return f"{type(error).__name__}{f': {text}' if text else ''} ({Path(last.filename).name}, line {last.lineno})"
