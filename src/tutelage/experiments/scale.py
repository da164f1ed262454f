"""Shrink an experiment, and say what a study differs in from the one it was made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tutelage.data import DataConfig
from tutelage.data.load import facts
from tutelage.errors import unknown
from tutelage.experiments.spec import Experiment
from tutelage.lineage import Generation, Lineage
from tutelage.paths import data_folder
from tutelage.study import Study
from tutelage.training import Schedule

STEPS = 16


def reduced(
    experiment: Experiment, *, scale: float = 1.0, until: int | None = None, arms: Sequence[str] = ()
) -> Study:
    """A part of an experiment's study: fewer arms, fewer generations of each, and all of it shorter and smaller.

    ``scale`` multiplies epochs, training images and test images; milestones are shares of training and stay where
    they are. At least one epoch, 16 steps and one image of each class stay, where there were as many: with fewer
    steps, batch normalisation has no statistics to measure with. ``until`` is the last generation of each arm,
    counted from 0; nothing before it depends on what comes after.

    Errors: ``ValueError`` for a scale outside (0, 1], a negative generation, or an arm that the experiment lacks.

    >>> from tutelage.experiments import find
    >>> small = reduced(find("tolerant/table-1/densenet-100"), scale=0.01, until=1, arms=("D(0.6, 0.6)",))
    >>> [(one.name, one.schedule.epochs) for one in small.lineages[0].generations], small.lineages[0].data.train_size
    ([('patriarch', 3), ('generation 1', 3)], 500)
    """
    if not 0.0 < scale <= 1.0:
        raise ValueError(f"scale is a share in (0, 1], not {scale:g}")
    if until is not None and until < 0:
        raise ValueError(f"until is the number of a generation, from 0 on, not {until}")
    study = experiment.study
    chosen = _chosen(experiment, arms)
    lineages = tuple(_smaller(_shorter(lineage, until), scale) for lineage in chosen)
    kept = [lineage.name for lineage in lineages]
    return replace(study, lineages=lineages, reference=study.reference if study.reference in kept else None)


def changes(whole: Study, part: Study) -> list[str]:
    """What a part of a study differs in from the whole: what is not there, then what is shorter or smaller.

    >>> from tutelage.experiments import find
    >>> one = find("tolerant/table-1/densenet-100")
    >>> changes(one.study, reduced(one, scale=0.01, until=1, arms=("D(0.6, 0.6)",)))[:2]
    ['1 arm instead of 3', '2 generations instead of 6']
    """
    full = {lineage.name: lineage for lineage in whole.lineages}
    found = [_instead(len(part.lineages), len(full), "arm")] if len(part.lineages) < len(full) else []
    said: dict[str, list[str]] = {}
    for arm in part.lineages:
        before, after = len(full[arm.name].generations), len(arm.generations)
        if after < before:
            said.setdefault(_instead(after, before, "generation"), []).append(arm.name)
    for arm in part.lineages:
        for phrase in differences(full[arm.name], arm):
            said.setdefault(phrase, []).append(arm.name)
    every = [arm.name for arm in part.lineages]
    return found + [phrase if arms == every else f"{'; '.join(arms)}: {phrase}" for phrase, arms in said.items()]


def differences(whole: Lineage, part: Lineage, last: int | None = None) -> tuple[str, ...]:
    """What generations 0 to ``last`` of a lineage (by default all there are) are made with, instead of the whole's.

    >>> from tutelage.recipes.baselines import baseline
    >>> from tutelage.recipes.common_options import CommonOptions
    >>> small = baseline(CommonOptions(data="cifar100", epochs=3, train_size=500))
    >>> differences(baseline(CommonOptions(data="cifar100")), small)
    ('500 training images instead of 50,000', '3 epochs instead of 164')
    """
    stop = len(part.generations) if last is None else last + 1
    found = list(_data(whole.data, part.data))
    if part.views != whole.views:
        found.append(f"{part.views} instead of {whole.views}")
    said: dict[str, list[str]] = {}
    compared = tuple(zip(whole.generations, part.generations[:stop], strict=False))
    for before, after in compared:
        for phrase in _generation(before, after):
            said.setdefault(phrase, []).append(after.name)
    for phrase, names in said.items():
        found.append(phrase if len(names) == len(compared) else f"{phrase} ({', '.join(names)})")
    return tuple(found)


def _data(whole: DataConfig, part: DataConfig) -> Iterator[str]:
    if part.name != whole.name:
        yield f"{part.name} instead of {whole.name}"
        return
    before, after = facts(whole, data_folder()), facts(part, data_folder())
    for kind, one, other in (
        ("training", after.train_size, before.train_size),
        ("test", after.test_size, before.test_size),
    ):
        if one != other:
            yield _instead(one, other, f"{kind} image")


def _generation(whole: Generation, part: Generation) -> Iterator[str]:
    ours, theirs = part.schedule, whole.schedule
    if ours.epochs != theirs.epochs:
        yield _instead(ours.epochs, theirs.epochs, "epoch")
    for name in ("batch_size", "lr", "decay", "momentum", "nesterov", "weight_decay"):
        one, other = getattr(ours, name), getattr(theirs, name)
        if one != other:
            yield f"{name} {one} instead of {other}"
    for name in ("model", "objective", "teachers", "teacher_shares", "weights"):
        one, other = getattr(part, name), getattr(whole, name)
        if one != other:
            yield f"{name} {one} instead of {other}"


def _instead(one: int, other: int, what: str) -> str:
    """How many of something there are, and how many there were.

    >>> _instead(1, 300, "epoch")
    '1 epoch instead of 300'
    """
    return f"{one:,} {what}{'' if one == 1 else 's'} instead of {other:,}"


def _chosen(experiment: Experiment, arms: Iterable[str]) -> tuple[Lineage, ...]:
    known = {lineage.name: lineage for lineage in experiment.study.lineages}
    lacks = {one.name: one.reason for one in experiment.left_out}
    wanted = list(dict.fromkeys(arms))
    for arm in wanted:
        if arm in lacks:
            raise ValueError(f"{experiment.name} has no arm {arm!r}: {lacks[arm]}")
        if arm not in known:
            raise unknown(f"arm of {experiment.name}", arm, known)
    return tuple(lineage for name, lineage in known.items() if name in wanted or not wanted)


def _shorter(lineage: Lineage, until: int | None) -> Lineage:
    return lineage if until is None else replace(lineage, generations=lineage.generations[: until + 1])


def _smaller(lineage: Lineage, scale: float) -> Lineage:
    if scale == 1.0:
        return lineage
    whole = facts(lineage.data, data_folder())
    steps = [generation.schedule.batch_size for generation in lineage.generations]
    train = max(whole.num_classes, round(whole.train_size * scale))
    while any(train % step == 1 for step in steps):  # batch normalisation and relations need two images a step
        train += 1
    test = max(whole.num_classes, round(whole.test_size * scale))
    generations = tuple(replace(one, schedule=_brief(one.schedule, scale, train)) for one in lineage.generations)
    return replace(lineage, data=replace(lineage.data, train_size=train, test_size=test), generations=generations)


def _brief(schedule: Schedule, scale: float, images: int) -> Schedule:
    least = -(-STEPS // -(-images // schedule.batch_size))
    return replace(schedule, epochs=min(schedule.epochs, max(least, round(schedule.epochs * scale))))
