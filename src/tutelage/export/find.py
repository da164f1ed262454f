"""From the words of a request to a trained model: a folder, an address, or a generation of a run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage import storage
from tutelage.artifacts.model import Model
from tutelage.errors import unknown
from tutelage.lineage import models_of
from tutelage.study import StudyRecord, load_study, studies


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A finished model; ``siblings`` are the finished models of its generation over a run's seeds, itself included.

    ``own`` says that it lies in the user's own runs folder, and so names no code that the user did not train with.
    """

    model: Model
    own: bool
    siblings: tuple[Model, ...] = ()

    def made_of(self) -> dict[str, Any]:
        """What its ``config.json`` says."""
        return self.model.made_of()

    def network(self) -> str:
        """The name of its network."""
        return self.model.network()


def find_model(words: str, runs: Path) -> Source:
    """Find the finished model that ``words`` name.

    They are a model's folder; an address or the beginning of one; ``RUN``, ``RUN:generation`` or
    ``RUN:generation:seed`` with a name from ``tutelage list runs`` (by default its last generation, its first
    seed; a generation goes by name or by place).

    Errors: ``ValueError`` for words that name nothing, or more than one thing, with the nearest names;
    ``storage.Damaged`` for a model that is not what its manifest says.
    """
    folder = Path(words)
    if folder.is_dir():
        own = folder.resolve().is_relative_to(runs.resolve())
        return _finished(Source(model=Model(address=folder.resolve().name, folder=folder), own=own), words)
    name, *rest = words.split(":")
    if name in studies(runs):
        return _of_run(load_study(name, runs), name, rest, runs)
    if re.fullmatch(r"[0-9a-f]{4,64}", words):
        found = sorted(path.name for path in (runs / "models").glob(f"{words}*"))
        if len(found) > 1:
            raise ValueError(f"{len(found)} models have addresses that begin with {words!r}: {', '.join(found[:5])}")
        if found:
            model = Model(address=found[0], folder=runs / "models" / found[0])
            return _finished(Source(model=model, own=True), words)
    known = studies(runs)
    if not known:
        raise ValueError(f"no model {words!r}: it is not a folder, and {runs} holds no runs")
    hint = "the folder of a model, its address or the beginning of one do too"
    raise unknown("run or model", name, known, hint=hint)


def _finished(source: Source, words: str) -> Source:
    model = source.model
    if not model.finished:
        what = "has not been trained to its end" if _is_model(model.folder) else "is not the folder of a model"
        raise ValueError(f"{words!r} {what}: {model.folder} has no {storage.MANIFEST}")
    listed = storage.verify(model.folder)["files"]
    missing = {"config.json", "weights.safetensors", "evaluation.json", "predictions.safetensors"} - set(listed)
    if missing:
        raise ValueError(f"{words!r} is not the folder of a model: it has no {sorted(missing)[0]}")
    return source


def _is_model(folder: Path) -> bool:
    return (folder / "checkpoints").is_dir() or (folder / ".lock").is_file()


def _of_run(written: StudyRecord, name: str, rest: list[str], runs: Path) -> Source:
    study = written.study
    if len(rest) > 2:
        raise ValueError(f"expected RUN:generation:seed, not {':'.join([name, *rest])!r}")
    number, place = _generation(written, name, rest[0] if rest else None)
    lineage = study.lineages[number]
    seeds = {str(seed): seed for seed in study.seeds}
    asked = rest[1] if len(rest) == 2 else str(study.seeds[0])
    if asked not in seeds:
        raise ValueError(f"{name} has no seed {asked!r}: choose from {_listed(seeds)}")
    fingerprint = written.fingerprints[number]
    line = {seed: models_of(lineage, seed, fingerprint, written.precision, runs)[place] for seed in study.seeds}
    model = line[seeds[asked]]
    if not model.finished:
        done = [str(seed) for seed, sibling in line.items() if sibling.finished]
        raise ValueError(
            f"{lineage.generations[place].name} of {name} has not been trained to its end with seed {asked}; "
            f"finished seeds: {_listed(done) or 'none'}"
        )
    siblings = tuple(sibling for sibling in line.values() if sibling.finished)
    return _finished(Source(model=model, own=True, siblings=siblings), ":".join([name, *rest]))


def _generation(written: StudyRecord, name: str, asked: str | None) -> tuple[int, int]:
    """The lineage's number and the place in it of the generation asked for."""
    lineages = written.study.lineages
    several = len(lineages) > 1
    places = {
        f"{lineage.name}/{generation.name}" if several else generation.name: (number, place)
        for number, lineage in enumerate(lineages)
        for place, generation in enumerate(lineage.generations)
    }
    if asked is None and not several:
        return 0, len(places) - 1
    if asked in places:
        return places[asked]
    if asked is not None and asked.isdecimal() and not several and int(asked) < len(places):
        return 0, int(asked)
    fitting = [full for full in places if asked in (None, full.partition("/")[2])]
    if len(fitting) == 1:
        return places[fitting[0]]
    if fitting:
        raise ValueError(f"{name} has several lineages, say which: {_listed(f'{name}:{full}' for full in fitting)}")
    assert asked is not None
    raise unknown(f"generation of {name}", asked, places)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
