"""Ensembles of any models of a study, from their stored predictions: no network is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.analysis.diagnostics.generations import Line
from tutelage.analysis.sheets import Record, Sheet, over, points, sheet
from tutelage.artifacts.model import Model
from tutelage.errors import unknown
from tutelage.evaluation import accuracy, ece, ensemble, nll

_HEADINGS = ("arm", "members", "size", "ensembles", "test top-1", "members' mean", "gain", "NLL", "ECE")
_MEASURES = ("top1", "members_top1", "gain", "nll", "ece")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Models that answer together: one tuple of them for each seed, or a single one, under None, across seeds."""

    arm: str
    members: str
    models: dict[int | None, tuple[Model, ...]]


def ensembles(lines: Sequence[Line], asked: Sequence[str] = ()) -> Sheet:
    """The ensembles that were asked for; by default all generations of an arm, and all seeds of its last one.

    Each is asked for by its members, with commas between them: ``GENERATION`` (its place or name) or
    ``ARM/GENERATION``. Without an arm it is the generation of every arm. The members are put together seed by seed,
    unless each names its own: ``GENERATION:SEED``, or ``GENERATION:*`` for all seeds.

    Errors: ``ValueError`` for members that do not exist or are the same model, naming the nearest that do; where only
    some arms lack them, these are named in the notes.
    """
    found, unfit = find_ensembles(lines, asked)
    rows = []
    series: list[Record] = []
    for each in found:
        values = {seed: _measured(models) for seed, models in each.models.items()}
        top1, alone, gain, *told = ([value[name] for value in values.values()] for name in _MEASURES)
        size = len(next(iter(each.models.values())))
        shares = (points(top1), points(alone), points(gain, sign="+"))
        rows.append((each.arm, each.members, f"{size}", f"{len(values)}", *shares, *(over(one, 4) for one in told)))
        for seed, value in values.items():
            series.append({"arm": each.arm, "members": each.members, "size": size, "seed": seed, **value})
    reading = (
        "The mean of the members' probabilities; gain: to the mean of the members' own accuracy, in points. An "
        "ensemble costs as many times more to use as it has members. Whoever picks the best of many by these "
        "numbers picks on test data."
    )
    notes = [reading, *unfit] if rows else ["No arm has several generations or seeds to put together."]
    return sheet("ensembles", "Ensembles on the test images, from stored predictions", _HEADINGS, rows, notes, series)


def find_ensembles(lines: Sequence[Line], asked: Sequence[str] = ()) -> tuple[list[Ensemble], list[str]]:
    """What requests come to, as :func:`ensembles` reads them, and notes on the arms that they do not fit."""
    if not asked:
        return _usual(lines), []
    made = [_of(words, lines) for words in asked]
    return [each for found, _ in made for each in found], [note for _, notes in made for note in notes]


def _usual(lines: Sequence[Line]) -> list[Ensemble]:
    found = []
    for arm in dict.fromkeys(line.arm for line in lines):
        own = [line for line in lines if line.arm == arm]
        last = own[-1]
        by_seed = _seed_by_seed(own)
        if len(own) > 1 and by_seed:
            found.append(Ensemble(arm=arm, members=f"generations 0 to {last.row.place}", models=by_seed))
        if len(last.models) > 1:
            all_seeds = tuple(last.models.values())
            found.append(Ensemble(arm=arm, members=f"{last.row.generation}, all seeds", models={None: all_seeds}))
    return found


def _of(words: str, lines: Sequence[Line]) -> tuple[list[Ensemble], list[str]]:
    """What a request comes to in each arm, and notes on the arms that it does not fit."""
    given = [_split(word.strip()) for word in words.split(",")]
    if len({seed is None for _, seed in given}) > 1:
        raise ValueError(f"ensemble {words!r}: give each of its members a seed (GENERATION:SEED), or none")
    named = {f"{line.arm}/{name}": line for line in lines for name in _names(line)}
    if all(name in named for name, _ in given):
        members = [(named[name], seed) for name, seed in given]
        arms = " and ".join(dict.fromkeys(line.arm for line, _ in members))
        return [_made(arms, words, members)], []
    found, unfit = [], []
    for arm in dict.fromkeys(line.arm for line in lines):
        known = {name: line for line in lines if line.arm == arm for name in _names(line)} | named
        try:
            for name, _ in given:
                if name not in known:
                    raise unknown(f"generation of {arm}", name, known.keys() - named.keys())
            found.append(_made(arm, words, [(known[name], seed) for name, seed in given]))
        except ValueError as error:
            unfit.append(f"{words}: {error}.")
    if not found:
        raise ValueError(f"ensemble {unfit[0].removesuffix('.')}")
    return found, unfit


def _made(arm: str, words: str, members: Sequence[tuple[Line, str | None]]) -> Ensemble:
    if members[0][1] is None:
        models = _seed_by_seed([line for line, _ in members])
        if not models:
            raise ValueError(f"no seed of {arm} has finished all of its members")
    else:
        models = {None: tuple(model for line, seed in members for model in _of_seed(line, str(seed)))}
    for together in models.values():
        if len({model.address for model in together}) < len(together):
            raise ValueError(f"two members of it are the same model in {arm}")
    return Ensemble(arm=arm, members=words, models=models)


def _seed_by_seed(lines: Sequence[Line]) -> dict[int | None, tuple[Model, ...]]:
    """The models of each seed that all of these generations have finished."""
    seeds = [seed for seed in lines[0].models if all(seed in line.models for line in lines)]
    return {seed: tuple(line.models[seed] for line in lines) for seed in seeds}


def _of_seed(line: Line, seed: str) -> tuple[Model, ...]:
    if seed == "*":
        return tuple(line.models.values())
    if int(seed) not in line.models:
        known = ", ".join(map(str, line.models))
        raise ValueError(f"{line.arm}/{line.row.generation} is not finished with seed {seed}: choose from {known}")
    return (line.models[int(seed)],)


def _split(member: str) -> tuple[str, str | None]:
    """A member's name and its seed, where it says one.

    >>> _split("tolerant/2:0"), _split("generation 2"), _split("2:*")
    (('tolerant/2', '0'), ('generation 2', None), ('2', '*'))
    """
    name, sign, seed = member.rpartition(":")
    return (name, seed) if sign and (seed == "*" or seed.isdecimal()) else (member, None)


def _names(line: Line) -> tuple[str, str]:
    return str(line.row.place), line.row.generation


def _measured(models: Sequence[Model]) -> dict[str, float]:
    """An ensemble on the test images.

    Errors: ``ValueError`` for models that were measured on different images.
    """
    predictions = [model.predictions() for model in models]
    labels = predictions[0]["test_labels"]
    for model, found in zip(models, predictions, strict=True):
        if not labels.equal(found["test_labels"]):
            raise ValueError(f"models {models[0].address} and {model.address} were measured on different test images")
    together = ensemble([found["test"] for found in predictions])
    alone = sum(accuracy(found["test"], labels) for found in predictions) / len(models)
    top1 = accuracy(together, labels)
    return dict(
        zip(_MEASURES, (top1, alone, top1 - alone, nll(together, labels), ece(together, labels)), strict=True)
    )
