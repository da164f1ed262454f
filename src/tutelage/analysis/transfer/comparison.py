"""What the features of a study's models are worth on other datasets: plain rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tutelage.analysis import Results, Row
from tutelage.analysis.sheets import Plain, Record
from tutelage.analysis.statistics import holm, paired, summary
from tutelage.analysis.transfer.measure import finished_models
from tutelage.analysis.transfer.probes import PIXELS, PROBES, Probe, Transfer, kept, kept_of_pixels, pixels_of
from tutelage.errors import unknown


class _Group(NamedTuple):
    """What belongs into one table."""

    fingerprint: str
    layers: tuple[str, ...]
    probe: str


def find_reference(results: Results, asked: str | None = None) -> Row | None:
    """The generation that the others are compared to; None for a run of a single one.

    By default the last generation of the study's reference arm, of a run of one arm its first generation. It is asked
    for as ``ARM`` (its last generation) or ``ARM/GENERATION``; of a run of one arm as ``GENERATION`` too.

    Errors: ``ValueError`` with the nearest names.
    """
    rows = results.rows
    arms = {row.lineage: row for row in rows}
    named = {f"{row.lineage}/{row.generation}": row for row in rows} | arms
    if len(arms) == 1:
        named |= {row.generation: row for row in rows}
    if asked is not None:
        if asked not in named:
            raise unknown("reference", asked, named)
        return named[asked]
    if len(rows) == 1:
        return None
    return rows[0] if len(arms) == 1 else arms[results.study.reference or rows[0].lineage]


def transfer_rows(
    results: Results,
    *,
    fingerprint: str | None = None,
    layers: Sequence[str] | None = None,
    probes: Sequence[Probe] = PROBES,
    seeds: Sequence[int] = (),
    reference: str | None = None,
) -> list[Record]:
    """What is kept of a study's models on other datasets, a flat dictionary a line, with all digits.

    Nothing is run and no data is loaded: ``measure_transfer`` has done that. By default of all
    datasets and all layers that were asked for; ``fingerprint`` and ``layers`` pick one. The keys:

    - ``data``, ``data_fingerprint``, ``train_images``, ``test_images``, ``num_classes``: the other dataset
    - ``probe`` (linear or knn), ``layers`` (those asked for, by spaces; none for the last linear layer's input)
    - ``arm``, ``generation``, ``place`` (0 for the first), ``network``, ``layer``, ``width`` (number of features);
      for the floor ``arm`` is "pixels of C x H x W" and the others but ``width`` are empty or None
    - ``seeds_asked``, ``seeds``, ``accuracies``, ``l2`` (of the linear probe), ``addresses``: the finished seeds and
      what belongs to each, by spaces
    - ``accuracy``, ``deviation`` (None for one seed): over the seeds, in ``[0, 1]``
    - ``reference`` (arm/generation) and ``standing`` to it: "paired", "reference", "the same models" or "no seed in
      common"; both empty where nothing is compared
    - ``common_seeds``, ``difference`` with its 95 % t interval ``difference_low`` and ``difference_high``, ``p``
      (paired t test) and ``p_holm`` (corrected within the table); None where there is none
    - ``unconverged``: how many of the fits did not converge

    The floor comes last of its table. Where nothing is finished or kept there are no rows.

    Errors: ``ValueError`` for a seed or reference that the study has not.
    """
    models = finished_models(results, seeds)
    compared = find_reference(results, reference)
    groups: dict[_Group, dict[str, Transfer]] = {}
    for address, (_, _, model) in models.items():
        for found in kept(model):
            if found.probe in probes and fingerprint in (None, found.fingerprint):
                group = _Group(found.fingerprint, found.layers, found.probe)
                groups.setdefault(group, {})[address] = found
    pixels = kept_of_pixels(next(iter(models.values()))[2].folder.parent.parent) if groups else ()
    records: list[Record] = []
    for group in sorted(groups, key=lambda group: _order(group, groups[group])):
        if layers is None or tuple(layers) == group.layers:
            mine = groups[group]
            shapes = {pixels_of(found.shape) for found in mine.values()}
            bare = [one for one in pixels if (one.fingerprint, one.probe) == (group.fingerprint, group.probe)]
            records += _rows(results, mine, seeds or results.study.seeds, compared)
            records += [_floor(one, group) for one in bare if one.shape in shapes]
    return records


def _order(group: _Group, found: Mapping[str, Transfer]) -> tuple[object, ...]:
    one = next(iter(found.values()))
    return one.data, one.train_size, group.fingerprint, group.layers, PROBES.index(one.probe)


def _floor(found: Transfer, group: _Group) -> Record:
    arm = f"pixels of {' x '.join(map(str, found.shape))}"
    return _record({None: found}, arm=arm, layers=" ".join(group.layers))


def _rows(
    results: Results, found: Mapping[str, Transfer], seeds: Sequence[int], compared: Row | None
) -> list[Record]:
    """The generations that have been probed, each against the reference, with corrected p-values."""
    lines = [
        {
            seed: found[model.address]
            for seed, model in zip(results.study.seeds, row.models, strict=True)
            if seed in seeds and model.address in found
        }
        for row in results.rows
    ]
    theirs = next((line for row, line in zip(results.rows, lines, strict=True) if row is compared), {})
    records = []
    for row, line in zip(results.rows, lines, strict=True):
        if not line:
            continue
        record = _record(
            line,
            arm=row.lineage,
            generation=row.generation,
            place=row.place,
            network=row.model,
            seeds_asked=len(seeds),
        )
        if compared is not None:
            record["reference"] = f"{compared.lineage}/{compared.generation}"
            record |= {"standing": "reference"} if row is compared else _compared(line, theirs)
        records.append(record)
    # Arms that share a generation are one comparison, told twice.
    tested = {record["addresses"]: p for record in records if isinstance(p := record["p"], float)}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    for record in records:
        record["p_holm"] = corrected.get(record["addresses"])
    return records


def _compared(line: Mapping[int, Transfer], theirs: Mapping[int, Transfer]) -> Record:
    common = [seed for seed in line if seed in theirs]
    if not common:
        return {"standing": "no seed in common"}
    if all(line[seed].model == theirs[seed].model for seed in common):
        return {"standing": "the same models"}
    found = paired([line[seed].accuracy for seed in common], [theirs[seed].accuracy for seed in common])
    return {
        "standing": "paired",
        "common_seeds": " ".join(map(str, common)),
        "difference": found.mean,
        "difference_low": found.low,
        "difference_high": found.high,
        "p": found.p,
    }


def _record(line: Mapping[int, Transfer] | Mapping[None, Transfer], **known: Plain) -> Record:
    """The keys of :func:`transfer_rows` with what is known before anything is compared."""
    found = list(line.values())
    one, told = found[0], summary([transfer.accuracy for transfer in found])
    record: Record = {
        "data": one.data,
        "data_fingerprint": one.fingerprint,
        "train_images": one.train_size,
        "test_images": one.test_size,
        "num_classes": one.num_classes,
        "probe": one.probe,
        "layers": " ".join(one.layers),
        "arm": "",
        "generation": "",
        "place": None,
        "network": "",
        "layer": " ".join(dict.fromkeys(transfer.layer for transfer in found)),
        "width": one.width,
        "seeds_asked": None,
        "seeds": " ".join(str(seed) for seed in line if seed is not None),
        "accuracies": " ".join(repr(transfer.accuracy) for transfer in found),
        "l2": " ".join(f"{transfer.l2:g}" for transfer in found if transfer.l2 is not None),
        "addresses": " ".join(transfer.model for transfer in found if transfer.model != PIXELS),
        "accuracy": told.mean,
        "deviation": told.deviation,
        "reference": "",
        "standing": "",
        "common_seeds": "",
        "difference": None,
        "difference_low": None,
        "difference_high": None,
        "p": None,
        "p_holm": None,
        "unconverged": sum(not transfer.converged for transfer in found),
    }
    return record | known
