"""From the words of ``tutelage study`` to what is trained: arms, a file, or an experiment of a paper."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import CycloptsError, Parameter

from tutelage.cli.options import SWITCH, ComparisonOptions, TrainingOptions
from tutelage.cli.training import StudyRequest
from tutelage.errors import unknown

if TYPE_CHECKING:
    from tutelage.lineage import Lineage

Tokens = list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """What is compared.

    Args:
        arm: A recipe and its options in quotes, once for each arm; "NAME=RECIPE ..." names the arm. Of an
            experiment, the arms to train, by name; all by default.
        reference: The arm that the others are compared with; the first by default.
        name: A name for the study.
        scale: Of an experiment: multiply epochs, training images and test images by this, for a smoke run.
        until: Of an experiment: the last generation of each arm, counted from 0.
        trust: Import the code outside tutelage that a TOML file names (FILE.py:function).
    """

    arm: Annotated[tuple[str, ...], Parameter(consume_multiple=False)] = ()
    reference: str | None = None
    name: str | None = None
    scale: float | None = None
    until: int | None = None
    trust: Annotated[bool, SWITCH] = False


OWN_OPTIONS = frozenset(
    f"--{field.name.replace('_', '-')}"
    for kind in (StudyOptions, TrainingOptions, ComparisonOptions)
    for field in fields(kind)
)


def split_tokens(tokens: Sequence[str]) -> tuple[Tokens, dict[str, Tokens]]:
    """Separate the tokens of the study from those for its arms, which are by option.

    >>> split_tokens(["--arm", "baseline", "--epochs", "5", "--seeds", "0", "1"])
    (['--arm', 'baseline', '--seeds', '0', '1'], {'--epochs': ['--epochs', '5']})
    """
    own: Tokens = []
    shared: dict[str, Tokens] = {}
    current = own
    for token in tokens:
        if token.startswith("--"):
            option = _option(token)
            current = own if option in OWN_OPTIONS | {"--help"} else shared.setdefault(option, [])
        current.append(token)
    return own, shared


def study_request(
    what: Path | None, study: StudyOptions, training: TrainingOptions, shared: Mapping[str, Tokens]
) -> StudyRequest:
    """Read a request; ``shared`` are the tokens for all arms.

    Errors: ``ValueError`` for what does not exist, with the nearest names, and for options that do not go together.
    """
    from tutelage.recipes import recipes

    if what is not None:  # a misspelled option is reported as such, not as one that does not belong here
        _check_known(shared, [_recipe_options(recipe) for recipe in recipes().values()])
    if what is not None and not is_study_file(what):
        return _experiment(str(what), study, training, shared)
    for option in ("scale", "until"):
        if getattr(study, option) is not None:
            raise ValueError(f"--{option} is for an experiment: tutelage list experiments names them")
    if what is not None:
        return _file(what, study, training, shared)
    return _arms(study, training, shared)


def is_study_file(what: Path) -> bool:
    """Whether a word names the file of a study, not an experiment.

    >>> is_study_file(Path("nowhere.toml")), is_study_file(Path("tolerant/table-1/densenet-100"))
    (True, False)
    """
    return what.suffix == ".toml" or what.is_file()


def _experiment(
    name: str, study: StudyOptions, training: TrainingOptions, shared: Mapping[str, Tokens]
) -> StudyRequest:
    from tutelage.experiments import find_experiment
    from tutelage.experiments.scale import changes, reduced

    if shared:
        raise ValueError(
            f"{next(iter(shared))} cannot stand beside {name}: the options are the paper's; "
            "--scale, --until and --arm take a part of an experiment"
        )
    experiment = find_experiment(name)
    scale = 1.0 if study.scale is None else study.scale
    part = reduced(experiment, scale=scale, until=study.until, arms=study.arm)
    differences = ", ".join(changes(experiment.study, part))
    return StudyRequest(
        study=replace(part, **_overrides(study, training)),
        options=training.train_options(),
        experiment=name,
        note=f"{name}: {differences}" if differences else "",
    )


def _file(path: Path, study: StudyOptions, training: TrainingOptions, shared: Mapping[str, Tokens]) -> StudyRequest:
    from tutelage.recipes.study_spec import read_study

    if study.arm or shared:
        extra = "--arm" if study.arm else next(iter(shared))
        raise ValueError(f"{extra} cannot stand beside {path}: the arms and their options are those of the file")
    of_file, in_file = read_study(path, trust=study.trust)
    options = training.train_options()
    return StudyRequest(
        study=replace(of_file, **_overrides(study, training)),
        options=replace(
            options,
            watch_test=options.watch_test or in_file.watch_test,
            meter=options.meter or in_file.meter,
        ),
    )


def _arms(study: StudyOptions, training: TrainingOptions, shared: Mapping[str, Tokens]) -> StudyRequest:
    from tutelage.study import Study

    if not study.arm:
        raise ValueError(
            'tutelage study needs arms: --arm baseline --arm "label_smoothing --smoothing 0.1", a file, '
            "or an experiment"
        )
    return StudyRequest(
        study=Study(lineages=_lineages(study.arm, shared), **_overrides(study, training)),
        options=training.train_options(),
    )


def _overrides(study: StudyOptions, training: TrainingOptions) -> dict[str, Any]:
    """The fields of a study that options set, in place of what a file or an experiment says."""
    values = {"seeds": training.seeds, "reference": study.reference, "title": study.name}
    return {name: value for name, value in values.items() if value is not None}


def _lineages(arms: Sequence[str], shared: Mapping[str, Tokens]) -> tuple[Lineage, ...]:
    """The lineage of each arm, under the arm's name."""
    from tutelage.recipes import find_recipe
    from tutelage.recipes.study_spec import arm_names, rename_lineages

    parts = [_split_arm(arm) for arm in arms]
    recipes = [find_recipe(part.recipe) for part in parts]
    options = [_recipe_options(recipe) for recipe in recipes]
    _check_known(shared, options)
    lineages = []
    for part, recipe, known in zip(parts, recipes, options, strict=True):
        own = {_option(token) for token in part.tokens if token.startswith("--")}
        inherited = [token for option, tokens in shared.items() if option in known - own for token in tokens]
        lineages.append(_lineage(part.recipe, recipe, [*part.tokens, *inherited]))
    short = [lineage.name for lineage in lineages]
    long = [" ".join([lineage.name, *part.tokens]) for lineage, part in zip(lineages, parts, strict=True)]
    return rename_lineages(lineages, arm_names([part.name for part in parts], short, long))


@dataclass(frozen=True, slots=True)
class _Arm:
    """The words of an arm: its name where it has one, its recipe, and the recipe's options."""

    name: str | None
    recipe: str
    tokens: Tokens


def _split_arm(arm: str) -> _Arm:
    try:
        first, *tokens = shlex.split(arm)
    except ValueError as error:
        raise ValueError(f"--arm {arm!r}: {str(error).lower() if arm.strip() else 'expected a recipe'}") from None
    name, sign, recipe = first.partition("=")
    return _Arm(name, recipe, tokens) if sign else _Arm(None, first, tokens)


def _lineage(name: str, recipe: Callable[..., Lineage], tokens: Tokens) -> Lineage:
    """The lineage of a recipe with these options."""
    from tutelage.cli.recipe_app import recipe_lineage

    if {"--help", "-h"} & set(tokens):
        raise ValueError(f"an arm has no --help: see tutelage run {name} --help")
    try:
        return recipe_lineage(f"tutelage study {name}", recipe, tokens)
    except (CycloptsError, ValueError) as error:
        raise ValueError(f"arm {name}: {error}") from None


def _recipe_options(recipe: Callable[..., Lineage]) -> set[str]:
    from tutelage.recipes import option_types

    return {f"--{name.replace('_', '-')}" for name in option_types(recipe)}


def _check_known(shared: Collection[str], options: Sequence[set[str]]) -> None:
    known = OWN_OPTIONS.union(*options)
    for option in shared:
        if option not in known:
            raise unknown("option", option, known)


def _option(token: str) -> str:
    """The option that a token sets.

    >>> _option("--train_size=20")
    '--train-size'
    """
    return token.partition("=")[0].replace("_", "-")
