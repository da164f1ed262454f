"""Make an experiment smaller, and list how a study differs from the experiment that it is a part of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tutelage.data import DataConfig
from tutelage.data.load import dataset_info
from tutelage.errors import unknown
from tutelage.experiments.spec import Experiment
from tutelage.lineage import Generation, Lineage
from tutelage.paths import data_folder
from tutelage.study import Study
from tutelage.training import Schedule

MIN_STEPS = 16
"""Training steps that remain at any scale: with fewer, batch normalization has no usable statistics."""


def reduced(
    experiment: Experiment, *, scale: float = 1.0, until: int | None = None, arms: Sequence[str] = ()
) -> Study:
    """A part of an experiment's study: only some arms, only their first generations, with less of everything.

    ``scale`` multiplies epochs, training images and test images; milestones stay at their shares of training. At
    least one epoch, 16 steps and one image per class remain, if there were as many. ``until`` is the last generation
    of each arm, counted from 0; nothing before it depends on what comes after.

    Errors: ``ValueError`` for a scale outside (0, 1], a negative generation, or an arm that the experiment does not
    have.

    >>> from tutelage.experiments import find_experiment
    >>> small = reduced(find_experiment("tolerant/table-1/densenet-100"), scale=0.01, until=1, arms=("D(0.6, 0.6)",))
    >>> [(one.name, one.schedule.epochs) for one in small.lineages[0].generations], small.lineages[0].data.train_size
    ([('patriarch', 3), ('generation 1', 3)], 500)
    """
    if not 0.0 < scale <= 1.0:
        raise ValueError(f"scale must be in (0, 1], not {scale:g}")
    if until is not None and until < 0:
        raise ValueError(f"until must be the number of a generation, counted from 0, not {until}")
    study = experiment.study
    lineages = tuple(_scaled(_until(lineage, until), scale) for lineage in _select_arms(experiment, arms))
    names = [lineage.name for lineage in lineages]
    return replace(study, lineages=lineages, reference=study.reference if study.reference in names else None)


def changes(whole: Study, part: Study) -> list[str]:
    """How a part of a study differs from the whole: first what is missing, then what is shorter or smaller.

    >>> from tutelage.experiments import find_experiment
    >>> experiment = find_experiment("tolerant/table-1/densenet-100")
    >>> changes(experiment.study, reduced(experiment, scale=0.01, until=1, arms=("D(0.6, 0.6)",)))[:2]
    ['1 arm instead of 3', '2 generations instead of 6']
    """
    full = {lineage.name: lineage for lineage in whole.lineages}
    fewer_arms = [_instead(len(part.lineages), len(full), "arm")] if len(part.lineages) < len(full) else []
    arms_by_phrase: dict[str, list[str]] = {}
    for arm in part.lineages:
        before, after = len(full[arm.name].generations), len(arm.generations)
        if after < before:
            arms_by_phrase.setdefault(_instead(after, before, "generation"), []).append(arm.name)
    for arm in part.lineages:
        for phrase in differences(full[arm.name], arm):
            arms_by_phrase.setdefault(phrase, []).append(arm.name)
    every_arm = [arm.name for arm in part.lineages]
    return fewer_arms + [
        phrase if arms == every_arm else f"{'; '.join(arms)}: {phrase}" for phrase, arms in arms_by_phrase.items()
    ]


def differences(whole: Lineage, part: Lineage, last: int | None = None) -> tuple[str, ...]:
    """How generations 0 to ``last`` of a lineage (by default all it has) are trained otherwise than in the whole.

    >>> from tutelage.recipes.baselines import baseline
    >>> from tutelage.recipes.common_options import CommonOptions
    >>> small = baseline(CommonOptions(data="cifar100", epochs=3, train_size=500))
    >>> differences(baseline(CommonOptions(data="cifar100")), small)
    ('500 training images instead of 50,000', '3 epochs instead of 164')
    """
    stop = len(part.generations) if last is None else last + 1
    phrases = list(_data_differences(whole.data, part.data))
    if part.views != whole.views:
        phrases.append(f"{part.views} instead of {whole.views}")
    generations_by_phrase: dict[str, list[str]] = {}
    compared = tuple(zip(whole.generations, part.generations[:stop], strict=False))
    for before, after in compared:
        for phrase in _generation_differences(before, after):
            generations_by_phrase.setdefault(phrase, []).append(after.name)
    for phrase, names in generations_by_phrase.items():
        phrases.append(phrase if len(names) == len(compared) else f"{phrase} ({', '.join(names)})")
    return tuple(phrases)


def _data_differences(whole: DataConfig, part: DataConfig) -> Iterator[str]:
    if part.name != whole.name:
        yield f"{part.name} instead of {whole.name}"
        return
    before, after = dataset_info(whole, data_folder()), dataset_info(part, data_folder())
    if after.train_size != before.train_size:
        yield _instead(after.train_size, before.train_size, "training image")
    if after.test_size != before.test_size:
        yield _instead(after.test_size, before.test_size, "test image")


def _generation_differences(whole: Generation, part: Generation) -> Iterator[str]:
    if part.schedule.epochs != whole.schedule.epochs:
        yield _instead(part.schedule.epochs, whole.schedule.epochs, "epoch")
    for name in ("batch_size", "lr", "decay", "momentum", "nesterov", "weight_decay"):
        after, before = getattr(part.schedule, name), getattr(whole.schedule, name)
        if after != before:
            yield f"{name} {after} instead of {before}"
    for name in ("model", "objective", "teachers", "teacher_shares", "weights"):
        after, before = getattr(part, name), getattr(whole, name)
        if after != before:
            yield f"{name} {after} instead of {before}"


def _instead(after: int, before: int, noun: str) -> str:
    """A count, and what it was before.

    >>> _instead(1, 300, "epoch")
    '1 epoch instead of 300'
    """
    return f"{after:,} {noun}{'' if after == 1 else 's'} instead of {before:,}"


def _select_arms(experiment: Experiment, arms: Sequence[str]) -> tuple[Lineage, ...]:
    """The lineages of these arms, in the experiment's order; of all arms if none is named."""
    lineages = {lineage.name: lineage for lineage in experiment.study.lineages}
    unavailable = {arm.name: arm.reason for arm in experiment.unavailable_arms}
    requested = set(arms)
    for arm in arms:
        if arm in unavailable:
            raise ValueError(f"{experiment.name} has no arm {arm!r}: {unavailable[arm]}")
        if arm not in lineages:
            raise unknown(f"arm of {experiment.name}", arm, lineages)
    return tuple(lineage for name, lineage in lineages.items() if name in requested or not requested)


def _until(lineage: Lineage, last: int | None) -> Lineage:
    return lineage if last is None else replace(lineage, generations=lineage.generations[: last + 1])


def _scaled(lineage: Lineage, scale: float) -> Lineage:
    if scale == 1.0:
        return lineage
    whole = dataset_info(lineage.data, data_folder())
    batch_sizes = [generation.schedule.batch_size for generation in lineage.generations]
    train_size = max(whole.num_classes, round(whole.train_size * scale))
    # Batch normalization and relations between images need two images per step, in the last step too.
    while any(train_size % batch_size == 1 for batch_size in batch_sizes):
        train_size += 1
    test_size = max(whole.num_classes, round(whole.test_size * scale))
    generations = tuple(
        replace(generation, schedule=_shortened(generation.schedule, scale, train_size))
        for generation in lineage.generations
    )
    data = replace(lineage.data, train_size=train_size, test_size=test_size)
    return replace(lineage, data=data, generations=generations)


def _shortened(schedule: Schedule, scale: float, train_size: int) -> Schedule:
    steps_per_epoch = -(-train_size // schedule.batch_size)
    min_epochs = -(-MIN_STEPS // steps_per_epoch)
    return replace(schedule, epochs=min(schedule.epochs, max(min_epochs, round(schedule.epochs * scale))))
