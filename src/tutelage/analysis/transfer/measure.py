"""Probe the features of a study's models on another dataset, once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tutelage.analysis.results import Results, Row
from tutelage.analysis.transfer.probes import (
    PROBES,
    Destination,
    Probe,
    check_transfer,
    missing,
    missing_of_pixels,
    pixels_of,
    probe_model,
    probe_pixels,
    shape_of,
)
from tutelage.artifacts.model import Model
from tutelage.errors import unknown
from tutelage.evaluation.probe import check_training


class ProbeProgress(NamedTuple):
    """What has just been probed, a model or (without ``row`` and ``seed``) the pixels; which of how many it is."""

    number: int
    of: int
    row: Row | None
    seed: int | None


def finished_models(results: Results, seeds: Sequence[int] = ()) -> dict[str, tuple[Row, int, Model]]:
    """The finished models of a study by address, each where it first stands; of some seeds where they are given.

    Errors: ``ValueError`` for a seed that the study has not.
    """
    known = results.study.seeds
    for seed in seeds:
        if seed not in known:
            raise unknown("seed of the run", str(seed), map(str, known))
    found: dict[str, tuple[Row, int, Model]] = {}
    for row in results.rows:
        for seed, model in zip(known, row.models, strict=True):
            if model.finished and (not seeds or seed in seeds):
                found.setdefault(model.address, (row, seed, model))
    return found


def measure_transfer(
    results: Results,
    to: Destination,
    probes: Sequence[Probe] = PROBES,
    seeds: Sequence[int] = (),
    *,
    floor: bool = True,
) -> Iterator[ProbeProgress]:
    """Probe every finished model of a study on another dataset and keep what comes out; what is kept is not redone.

    With ``floor`` the pixels are probed too, once for each shape of images that the models were trained on: larger
    ones brought down to ``analysis.transfer.probes.pixels_of`` it.

    Errors: ``ValueError`` where nothing is finished; those of :func:`finished_models` and of ``lineage.transfer``.
    What a request gets wrong is said before anything is probed.
    """
    models = finished_models(results, seeds)
    if not models:
        raise ValueError("no model of the run is finished yet: the command that began it continues it")
    if "linear" in probes:
        check_training(to.splits.train.labels)
    undone = [(row, seed, model) for row, seed, model in models.values() if missing(model, to, probes)]
    kinds = {(row.model, shape_of(model)): model for row, _, model in undone}
    for model in kinds.values():
        check_transfer(model, to)
    runs = next(iter(models.values()))[2].folder.parent.parent
    shapes = sorted({pixels_of(shape_of(model)) for _, _, model in models.values()}) if floor else []
    bare = [shape for shape in shapes if missing_of_pixels(runs, shape, to, probes)]
    of = len(undone) + len(bare)
    for number, (row, seed, model) in enumerate(undone, 1):
        probe_model(model, to, probes)
        yield ProbeProgress(number, of, row, seed)
    for number, shape in enumerate(bare, len(undone) + 1):
        probe_pixels(runs, shape, to, probes)
        yield ProbeProgress(number, of, None, None)
