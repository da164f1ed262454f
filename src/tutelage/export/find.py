"""Find the trained model that a request names: a folder, an address, or a generation of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tutelage import storage
from tutelage.artifacts.config import address_of
from tutelage.artifacts.model import Model
from tutelage.errors import listing, unknown
from tutelage.lineage import models_of
from tutelage.study import StudyRecord, load_study, studies

_REQUIRED = ("config.json", "evaluation.json", "predictions.safetensors", "weights.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedModel:
    """A finished model, and the finished models of the same generation at all seeds of its run as ``siblings``.

    ``siblings`` include the model itself and are empty for a model that was not named by its run. ``trusted`` is true
    for a model in the user's own runs folder: it names only code that the user trained with.
    """

    model: Model
    trusted: bool
    siblings: tuple[Model, ...] = ()


def find_model(name: str, runs: Path) -> FinishedModel:
    """Find the finished model that ``name`` refers to.

    ``name`` is a model's folder; an address or the beginning of one; or ``RUN``, ``RUN:generation`` or
    ``RUN:generation:seed``, where ``RUN`` is a name from ``tutelage list runs``. A generation is given by its name or
    its place. The default is the last generation at the first seed.

    Errors: ``ValueError`` for a name that refers to no model or to several, with the nearest names;
    ``storage.Damaged`` for a model that does not match its manifest, or lies under the address of another.
    """
    folder = Path(name)
    if folder.is_dir():
        _check_complete(folder, name)
        model = Model(address=address_of(folder), folder=folder)
        return FinishedModel(model=model, trusted=folder.resolve().is_relative_to(runs.resolve()))
    run, *selectors = name.split(":")
    run_names = studies(runs)
    if run in run_names:
        return _find_in_run(load_study(run, runs), run, selectors, runs)
    if re.fullmatch(r"[0-9a-f]{4,64}", name):
        addresses = sorted(path.name for path in (runs / "models").glob(f"{name}*"))
        if len(addresses) > 1:
            raise ValueError(
                f"{len(addresses)} models have addresses that begin with {name!r}: {', '.join(addresses[:5])}"
            )
        if addresses:
            folder = runs / "models" / addresses[0]
            _check_complete(folder, name)
            return FinishedModel(model=Model(address=address_of(folder), folder=folder), trusted=True)
    if not run_names:
        raise ValueError(f"no model {name!r}: it is not a folder, and {runs} holds no runs")
    raise unknown(
        "run or model", run, run_names, hint="a model's folder, or the beginning of its address, also works"
    )


def _check_complete(folder: Path, name: str) -> None:
    if not storage.is_finished(folder):
        in_training = (folder / "checkpoints").is_dir() or (folder / ".lock").is_file()
        problem = "has not finished training" if in_training else "is not the folder of a model"
        raise ValueError(f"{name!r} {problem}: {folder} has no {storage.MANIFEST}")
    listed = storage.verify(folder)["files"]
    missing = [file for file in _REQUIRED if file not in listed]
    if missing:
        raise ValueError(f"{name!r} is not the folder of a model: it has no {missing[0]}")


def _find_in_run(record: StudyRecord, run: str, selectors: list[str], runs: Path) -> FinishedModel:
    """Find a model of a run by its selectors: a generation and a seed, both optional."""
    study = record.study
    name = ":".join([run, *selectors])
    if len(selectors) > 2:
        raise ValueError(f"expected RUN:generation:seed, not {name!r}")
    number, place = _find_generation(record, run, selectors[0] if selectors else None)
    lineage = study.lineages[number]
    seeds = {str(seed): seed for seed in study.seeds}
    requested = selectors[1] if len(selectors) == 2 else str(study.seeds[0])
    if requested not in seeds:
        raise ValueError(f"{run} has no seed {requested!r}: choose from {listing(seeds)}")
    fingerprint = record.fingerprints[number]
    by_seed = {
        seed: models_of(lineage, seed, fingerprint, record.precision, runs, record.origins)[place]
        for seed in study.seeds
    }
    finished = {seed: model for seed, model in by_seed.items() if model.finished}
    model = by_seed[seeds[requested]]
    if not model.finished:
        raise ValueError(
            f"{lineage.generations[place].name} of {run} has not finished training with seed {requested}; "
            f"finished seeds: {listing(map(str, finished)) or 'none'}"
        )
    _check_complete(model.folder, name)
    return FinishedModel(model=model, trusted=True, siblings=tuple(finished.values()))


def _find_generation(record: StudyRecord, run: str, requested: str | None) -> tuple[int, int]:
    """The number of the requested generation's lineage in its study, and its place in the lineage.

    A generation is named ``lineage/generation`` where the study has several lineages, or by its own name where that
    is unique.
    """
    lineages = record.study.lineages
    several = len(lineages) > 1
    places = {
        f"{lineage.name}/{generation.name}" if several else generation.name: (number, place)
        for number, lineage in enumerate(lineages)
        for place, generation in enumerate(lineage.generations)
    }
    if requested is None and not several:
        return 0, len(places) - 1
    if requested in places:
        return places[requested]
    if requested is not None and requested.isdecimal() and not several and int(requested) < len(places):
        return 0, int(requested)
    matches = [name for name in places if requested in (None, name.partition("/")[2])]
    if len(matches) == 1:
        return places[matches[0]]
    if matches:
        raise ValueError(f"{run} has several lineages, choose from {listing(f'{run}:{name}' for name in matches)}")
    assert requested is not None
    raise unknown(f"generation of {run}", requested, places)
