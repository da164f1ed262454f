"""Compare how well the features of a study's models transfer to other datasets, from stored probe results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from tutelage.analysis.results import GenerationResult, Results
from tutelage.analysis.statistics import Paired, Summary, holm, paired, summary
from tutelage.analysis.transfer.measure import finished_models
from tutelage.analysis.transfer.probes import pixel_shape
from tutelage.analysis.transfer.results import PROBES, Probe, ProbeResult, stored_pixel_results, stored_results
from tutelage.artifacts.config import Shape
from tutelage.errors import unknown
from tutelage.evaluation.probe import L2

Standing = Literal["", "reference", "same models", "no common seed", "paired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferRecord:
    """The results of one probe on another dataset, over the seeds of a generation or on the pixels alone.

    - ``data``, ``data_fingerprint``, ``train_images``, ``test_images``, ``num_classes``: the other dataset;
      ``same_data`` is true if arms of the study were trained on a dataset of that name
    - ``probe``; ``layers``: the modules that were requested, none for the input of the last linear layer
    - ``arm``, ``generation``, ``place`` and ``network``: empty, or None, for pixels
    - ``shape``: that of the converted images, ``(C, H, W)``; ``modules``: the modules that the features come from;
      ``width``: the number of features
    - ``seeds_requested`` (None for pixels); ``seeds``: those that are finished; ``accuracies``, ``l2`` (of the linear
      probe) and ``addresses``: one value for each of them
    - ``accuracy``: over the seeds, in ``[0, 1]``
    - ``reference``: the arm and the generation to compare with, and ``standing``, how this one relates to it; None
      and empty where nothing is compared
    - ``difference``: in accuracy, over the ``common_seeds``, with its 95 % t interval and the p-value of the paired t
      test; ``p_holm``: the p-value corrected within the table. Both are None unless ``standing`` is "paired"
    - ``unconverged``: the fits that did not converge; ``at_edge``: those that chose the strongest or weakest ``l2``
    """

    data: str
    data_fingerprint: str
    train_images: int
    test_images: int
    num_classes: int
    same_data: bool
    probe: Probe
    layers: tuple[str, ...]
    arm: str = ""
    generation: str = ""
    place: int | None = None
    network: str = ""
    shape: Shape
    modules: tuple[str, ...]
    width: int
    seeds_requested: int | None = None
    seeds: tuple[int, ...] = ()
    accuracies: tuple[float, ...]
    l2: tuple[float, ...]
    addresses: tuple[str, ...] = ()
    accuracy: Summary
    reference: tuple[str, str] | None = None
    standing: Standing = ""
    common_seeds: tuple[int, ...] = ()
    difference: Paired | None = None
    p_holm: float | None = None
    unconverged: int
    at_edge: int

    @property
    def of_pixels(self) -> bool:
        """Whether pixels were probed, without a network."""
        return self.place is None


class _Group(NamedTuple):
    """What the records of one table have in common."""

    fingerprint: str
    layers: tuple[str, ...]
    probe: Probe


def find_reference(results: Results, name: str | None = None) -> GenerationResult | None:
    """The generation that the others are compared with; None for a run of a single generation.

    By default it is the last generation of the study's reference arm, or the first generation of a run of one arm. A
    ``name`` is ``ARM`` (its last generation) or ``ARM/GENERATION``; in a run of one arm ``GENERATION`` too.

    Errors: ``ValueError`` with the nearest names.
    """
    generations = results.generations
    last = {generation.arm: generation for generation in generations}
    names = {f"{generation.arm}/{generation.name}": generation for generation in generations} | last
    if len(last) == 1:
        names |= {generation.name: generation for generation in generations}
    if name is not None:
        if name not in names:
            raise unknown("reference", name, names)
        return names[name]
    if len(generations) == 1:
        return None
    return generations[0] if len(last) == 1 else last[results.study.reference or generations[0].arm]


def transfer_records(
    results: Results,
    *,
    fingerprint: str | None = None,
    layers: Sequence[str] | None = None,
    probes: Sequence[Probe] = PROBES,
    seeds: Sequence[int] = (),
    reference: str | None = None,
) -> tuple[TransferRecord, ...]:
    """The stored probe results of a study's models, one record per generation and one per shape of pixels.

    Nothing is probed and no data is loaded: :func:`measure_transfer` does that. ``fingerprint`` and ``layers`` select
    one dataset and one request for layers, all by default. Records of one table are next to each other, those of
    pixels last. There are none if no model is finished or nothing is stored.

    Errors: ``ValueError`` for a seed or reference that the study does not have.
    """
    models = finished_models(results, seeds)
    compared = find_reference(results, reference)
    groups: dict[_Group, dict[str, ProbeResult]] = {}
    for address, entry in models.items():
        for result in stored_results(entry.model):
            if result.probe in probes and fingerprint in (None, result.fingerprint):
                group = _Group(result.fingerprint, result.layers, result.probe)
                groups.setdefault(group, {})[address] = result
    if not groups:
        return ()
    pixels = stored_pixel_results(next(iter(models.values())).model.runs)
    records: list[TransferRecord] = []
    for group, by_address in sorted(groups.items(), key=_order):
        if layers is None or tuple(layers) == group.layers:
            shapes = {pixel_shape(result.shape) for result in by_address.values()}
            records += _generations(results, by_address, seeds or results.study.seeds, compared)
            records += [
                replace(_record(results, [result]), layers=group.layers)
                for result in pixels
                if (result.fingerprint, result.probe) == (group.fingerprint, group.probe) and result.shape in shapes
            ]
    return tuple(records)


def _order(entry: tuple[_Group, Mapping[str, ProbeResult]]) -> tuple[object, ...]:
    group, by_address = entry
    first = next(iter(by_address.values()))
    return first.data, first.train_size, group.fingerprint, group.layers, PROBES.index(group.probe)


def _generations(
    results: Results, by_address: Mapping[str, ProbeResult], seeds: Sequence[int], compared: GenerationResult | None
) -> list[TransferRecord]:
    """The records of the generations that have results, each compared with the reference."""

    def by_seed(generation: GenerationResult) -> dict[int, ProbeResult]:
        models = {seed: result.model.address for seed, result in generation.seeds.items() if seed in seeds}
        return {seed: by_address[address] for seed, address in models.items() if address in by_address}

    theirs = {} if compared is None else by_seed(compared)
    records = []
    for generation in results.generations:
        ours = by_seed(generation)
        if not ours:
            continue
        record = replace(
            _record(results, list(ours.values())),
            arm=generation.arm,
            generation=generation.name,
            place=generation.place,
            network=generation.network,
            seeds_requested=len(seeds),
            seeds=tuple(ours),
            addresses=tuple(result.model for result in ours.values()),
        )
        if compared is not None:
            record = replace(record, reference=(compared.arm, compared.name), standing="reference")
        if compared is not None and generation is not compared:
            record = _compare(record, ours, theirs)
        records.append(record)
    return _correct(records)


def _compare(
    record: TransferRecord, ours: Mapping[int, ProbeResult], theirs: Mapping[int, ProbeResult]
) -> TransferRecord:
    common = tuple(seed for seed in ours if seed in theirs)
    if not common:
        return replace(record, standing="no common seed")
    if all(ours[seed].model == theirs[seed].model for seed in common):
        return replace(record, standing="same models")
    difference = paired([ours[seed].accuracy for seed in common], [theirs[seed].accuracy for seed in common])
    return replace(record, standing="paired", common_seeds=common, difference=difference)


def _correct(records: Sequence[TransferRecord]) -> list[TransferRecord]:
    """Correct the p-values for their number; arms that share a generation count as one comparison."""
    tested = {
        record.addresses: record.difference.p
        for record in records
        if record.difference is not None and record.difference.p is not None
    }
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    return [replace(record, p_holm=corrected.get(record.addresses)) for record in records]


def _record(results: Results, values: Sequence[ProbeResult]) -> TransferRecord:
    """The record of some results before anything is compared, as one of pixels."""
    first = values[0]
    l2 = tuple(value.l2 for value in values if value.l2 is not None)
    return TransferRecord(
        data=first.data,
        data_fingerprint=first.fingerprint,
        train_images=first.train_size,
        test_images=first.test_size,
        num_classes=first.num_classes,
        same_data=first.data in {Path(lineage.data.name).name for lineage in results.study.lineages},
        probe=first.probe,
        layers=first.layers,
        shape=first.shape,
        modules=tuple(dict.fromkeys(value.layer for value in values if value.layer)),
        width=first.width,
        accuracies=tuple(value.accuracy for value in values),
        l2=l2,
        accuracy=summary([value.accuracy for value in values]),
        unconverged=sum(not value.converged for value in values),
        at_edge=sum(value in (L2[0], L2[-1]) for value in l2),
    )
