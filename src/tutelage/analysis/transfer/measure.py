"""Probe the features of a study's models on another dataset, once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tutelage.analysis.results import GenerationResult, Results
from tutelage.analysis.transfer.probes import check_transfer, pixel_shape, probe_model, probe_pixels
from tutelage.analysis.transfer.results import PROBES, Destination, Probe, Subject
from tutelage.artifacts.model import Model
from tutelage.errors import unknown
from tutelage.evaluation.probe import check_training


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeProgress:
    """What has just been probed, as ``number`` of ``of``; ``generation`` and ``seed`` are None for pixels."""

    number: int
    of: int
    generation: GenerationResult | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedModel:
    """A finished model, and the first generation and seed of the study that it belongs to."""

    model: Model
    generation: GenerationResult
    seed: int


def finished_models(results: Results, seeds: Sequence[int] = ()) -> dict[str, FinishedModel]:
    """The finished models of a study by address; with ``seeds``, only those of these seeds.

    Errors: ``ValueError`` for a seed that the study does not have.
    """
    for seed in seeds:
        if seed not in results.study.seeds:
            raise unknown("seed of the run", str(seed), map(str, results.study.seeds))
    models: dict[str, FinishedModel] = {}
    for generation in results.generations:
        for seed, result in generation.seeds.items():
            if not seeds or seed in seeds:
                entry = FinishedModel(model=result.model, generation=generation, seed=seed)
                models.setdefault(result.model.address, entry)
    return models


def measure_transfer(
    results: Results,
    to: Destination,
    probes: Sequence[Probe] = PROBES,
    seeds: Sequence[int] = (),
    *,
    floor: bool = True,
) -> Iterator[ProbeProgress]:
    """Probe every finished model of a study on another dataset, and store the results that are missing.

    With ``floor`` the pixels are probed too, once for each shape that ``pixel_shape`` gives for the models' images.

    Errors: ``ValueError`` if no model is finished; those of :func:`finished_models`, :func:`check_transfer`,
    :func:`probe_model` and :func:`probe_pixels`. Mistakes in the request are raised before anything is probed.
    """
    models = finished_models(results, seeds)
    if not models:
        raise ValueError("no model of the run is finished yet: run the command that started it again to continue")
    if "linear" in probes:
        check_training(to.splits.train.labels)
    pending = [entry for entry in models.values() if Subject.model(entry.model).missing(to, probes)]
    kinds = {(entry.generation.network, entry.model.input_shape()): entry.model for entry in pending}
    for model in kinds.values():
        check_transfer(model, to)
    runs = next(iter(models.values())).model.runs
    shapes = sorted({pixel_shape(entry.model.input_shape()) for entry in models.values()}) if floor else []
    pending_shapes = [shape for shape in shapes if Subject.pixels(runs, shape).missing(to, probes)]
    of = len(pending) + len(pending_shapes)
    for number, entry in enumerate(pending, 1):
        probe_model(entry.model, to, probes)
        yield ProbeProgress(number=number, of=of, generation=entry.generation, seed=entry.seed)
    for number, shape in enumerate(pending_shapes, len(pending) + 1):
        probe_pixels(runs, shape, to, probes)
        yield ProbeProgress(number=number, of=of)
