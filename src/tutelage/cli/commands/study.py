"""Compare recipes over seeds: ``tutelage study``."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from tutelage.cli.gc_pause import gc_paused
from tutelage.cli.study_request import Asked, is_file, part_of
from tutelage.cli.tables import must_be_files
from tutelage.errors import unknown
from tutelage.paths import runs_folder

if TYPE_CHECKING:
    from tutelage.analysis import Results
    from tutelage.cli.app import RunOptions
    from tutelage.lineage import Lineage
    from tutelage.study import Execution

Start = Callable[["Asked", Path, "Execution", str, "ComparisonOptions"], int]
Flag = Annotated[bool, Parameter(negative=())]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonOptions:
    """How a study's arms are compared, and where that is written.

    Args:
        test: Where p-values come from: the paired t test, Wilcoxon's signed ranks, or all flips of signs.
        confidence: The confidence of the intervals.
        markdown: Write the comparison here, with where its numbers come from.
        csv: Write the comparison here, with all digits.
    """

    test: Literal["t", "wilcoxon", "permutation"] = "t"
    confidence: float = 0.95
    markdown: Path | None = None
    csv: Path | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.confidence < 1.0:
            raise ValueError(f"confidence is in (0, 1), not {self.confidence:g}")
        must_be_files(self.markdown, self.csv)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """What `study` can be told beside the options of its arms.

    Args:
        arm: A recipe and its options in quotes, once for each arm; "NAME=RECIPE ..." names the arm. Of an
            experiment, an arm of it by name; all by default.
        scale: Of an experiment: multiply epochs, training images and test images by this, for a smoke run.
        until: Of an experiment: the last generation of each arm, counted from 0.
        seeds: Each arm is trained for each seed, 0 by default; several seeds run side by side.
        reference: The arm that the others are compared to; the first by default.
        name: What to call the study.
        runs: The folder of models and runs; TUTELAGE_RUNS or ./runs by default.
        device: cpu, cuda or auto.
        precision: bf16 where the processor multiplies it natively, unless told otherwise.
        threads: Threads a process; by default the cores are divided among the seeds that run side by side.
        side_by_side: Seeds at once, each in a process of its own; by default one a core, or one on a GPU.
        strict: Refuse to continue a training with other threads, another torch, device, processor or precision than
            it had so far, or on other images; else that is said, and noted in the model.
        teacher_store: Keep a teacher's logits on disk and read them again, bit for bit; auto does where that pays.
            Up to 1.6 GB a teacher for CIFAR-100, in the folder of runs.
        trust: Import the code outside tutelage that a TOML file names (FILE.py:function); else that is refused.
        watch_test: Measure the test set after each epoch too; nothing is chosen by it, and the table says so.
        meter: Record each term's share of the gradient's norm once an epoch.
        track: Who is told each epoch's measures: tensorboard, mlflow, wandb, several of them, or none; by default
            tensorboard where it is installed.
    """

    arm: Annotated[tuple[str, ...], Parameter(negative=())] = ()
    scale: float | None = None
    until: int | None = None
    seeds: Annotated[tuple[int, ...] | None, Parameter(consume_multiple=True, negative=())] = None
    reference: str | None = None
    name: str | None = None
    runs: Path | None = None
    device: str = "auto"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    threads: int | None = None
    side_by_side: int | None = None
    strict: Flag = False
    trust: Flag = False
    watch_test: Flag = False
    meter: Flag = False
    teacher_store: Literal["off", "on", "auto"] = "off"
    track: Annotated[tuple[str, ...] | None, Parameter(consume_multiple=True, negative=())] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmOptions:
    """An arm is told its recipe's options and no others."""


AS_USUAL = ComparisonOptions()
Given = tuple[Path | None, StudyOptions, ComparisonOptions]
Flat = Parameter(name="*")
OWN = {f"--{field.name.replace('_', '-')}" for kind in (StudyOptions, ComparisonOptions) for field in fields(kind)}


def study(
    what: Path | None = None,
    /,
    *,
    options: Annotated[StudyOptions, Flat] = StudyOptions(),
    comparison: Annotated[ComparisonOptions, Flat] = AS_USUAL,
) -> Given:
    """Compare recipes over seeds: tutelage study --arm RECIPE --arm "RECIPE --option VALUE" ..., FILE.toml, or an
    experiment of a paper.

    Any option of a recipe (`tutelage run RECIPE --help`), given once, goes to each arm whose recipe takes it and that
    does not say otherwise itself.

    Args:
        what: The study as a TOML file, or an experiment of `tutelage list experiments`.
    """
    return what, options, comparison


def machine_of(options: StudyOptions | RunOptions, seeds: int) -> Execution:
    """Where so many seeds run."""
    from tutelage.study import Execution

    return Execution.divided(
        seeds,
        options.device,
        options.precision,
        options.threads,
        options.teacher_store,
        options.strict,
        options.side_by_side,
    )


def study_command(tokens: list[str], start: Start) -> int:
    """Carry out ``tutelage study``; ``start`` trains a study, shows it and returns the exit code."""
    with gc_paused():
        import tutelage.study  # noqa: F401  # what the rest will need
        from tutelage.recipes import recipes

        recipes()
    own, shared = _divided(tokens)
    app = App(name="tutelage study", version_flags=[], help_on_error=False)
    app.default(study)
    told = app(own, exit_on_error=False, print_error=False, result_action="return_value")
    if told is None:  # the help was asked for, and has been printed
        return 0
    what, options, comparison = told
    asked = replace(_asked(what, options, shared), track=options.track)
    machine = machine_of(options, len(asked.study.seeds))
    command = shlex.join(["tutelage", "study", *tokens])
    return start(asked, options.runs or runs_folder(), machine, command, comparison)


def _asked(what: Path | None, options: StudyOptions, shared: dict[str, list[str]]) -> Asked:
    from tutelage.recipes import recipes
    from tutelage.recipes.study_spec import read_study
    from tutelage.study import Study

    asked: dict[str, Any] = {name: getattr(options, name) for name in ("seeds", "reference", "watch_test", "meter")}
    asked["title"] = options.name
    asked = {name: value for name, value in asked.items() if value not in (None, False)}
    if what is not None:  # a slip of the pen is told as such before an option that would fit elsewhere
        _must_be_known(shared, [_options(recipe) for recipe in recipes().values()])
    if what is not None and not is_file(what):
        if shared:
            raise ValueError(
                f"{next(iter(shared))} cannot stand beside {what}: the options are the paper's; "
                "--scale, --until and --arm take a part of an experiment"
            )
        part = part_of(str(what), 1.0 if options.scale is None else options.scale, options.until, options.arm)
        return replace(part, study=replace(part.study, **asked))
    for name in ("scale", "until"):
        if getattr(options, name) is not None:
            raise ValueError(f"--{name} is for an experiment: tutelage list experiments names them")
    if what is None:
        if not options.arm:
            raise ValueError(
                'tutelage study needs arms: --arm baseline --arm "label_smoothing --smoothing 0.1", a file, '
                "or an experiment"
            )
        return Asked(study=Study(lineages=_arms(options.arm, shared), **asked))
    if options.arm or shared:
        extra = "--arm" if options.arm else next(iter(shared))
        raise ValueError(f"{extra} cannot stand beside {what}: the arms and their options are those of the file")
    return Asked(study=replace(read_study(what, trust=options.trust), **asked))


def _divided(tokens: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The study's own words, and those for its arms by option."""
    own: list[str] = []
    shared: dict[str, list[str]] = {}
    into = own
    for token in tokens:
        if token.startswith("--"):
            option = token.partition("=")[0].replace("_", "-")
            into = own if option in OWN | {"--help"} else shared.setdefault(option, [])
        into.append(token)
    return own, shared


def _options(recipe: Callable[..., Lineage]) -> set[str]:
    from tutelage.recipes.study_spec import taken

    return {f"--{name.replace('_', '-')}" for name in taken(recipe)}


def _must_be_known(shared: dict[str, list[str]], options: list[set[str]]) -> None:
    known = OWN.union(*options)
    for option in shared:
        if option not in known:
            raise unknown("option", option, known)


def _arms(words: tuple[str, ...], shared: dict[str, list[str]]) -> tuple[Lineage, ...]:
    """The lineage of each arm, under the arm's name."""
    from tutelage.recipes import find
    from tutelage.recipes.study_spec import arm_names, named

    split = [_split(arm) for arm in words]
    recipes = [find(recipe) for _, recipe, _ in split]
    options = [_options(recipe) for recipe in recipes]
    _must_be_known(shared, options)
    lineages = []
    for (_, recipe, tokens), function, known in zip(split, recipes, options, strict=True):
        said = {token.partition("=")[0].replace("_", "-") for token in tokens if token.startswith("--")}
        more = [token for option, given in shared.items() if option in known - said for token in given]
        lineages.append(_arm(recipe, function, [*tokens, *more]))
    short = [lineage.name for lineage in lineages]
    long = [" ".join([lineage.name, *tokens]) for lineage, (_, _, tokens) in zip(lineages, split, strict=True)]
    return named(lineages, arm_names([name for name, _, _ in split], short, long))


def _split(arm: str) -> tuple[str | None, str, list[str]]:
    """An arm's name where it has one, its recipe and its options."""
    try:
        first, *tokens = shlex.split(arm)
    except ValueError as error:
        raise ValueError(f"--arm {arm!r}: {str(error).lower() if arm.strip() else 'expected a recipe'}") from None
    name, sign, recipe = first.partition("=")
    return (name, recipe, tokens) if sign else (None, first, tokens)


def _arm(name: str, recipe: Callable[..., Lineage], tokens: list[str]) -> Lineage:
    from tutelage.cli.options import recipe_app

    if {"--help", "-h"} & set(tokens):
        raise ValueError(f"an arm has no --help: see tutelage run {name} --help")
    found: list[Lineage] = []

    def keep(lineage: Any, _: object) -> int:
        found.append(lineage)
        return 0

    app = recipe_app("study", name, recipe, ArmOptions, keep)
    try:
        app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except (CycloptsError, ValueError) as error:
        raise ValueError(f"arm {name}: {error}") from None
    return found[0]


def show_comparison(results: Results, options: ComparisonOptions) -> None:
    """Print how the arms of a study compare, where there are several, and what a paper printed of them.

    Writes the files that were asked for.
    """
    from tutelage.analysis import compare
    from tutelage.cli.console import draw, say, written
    from tutelage.report import as_csv, comparison_table, markdown, missing
    from tutelage.report.published import published_markdown, published_table

    comparison = compare(results, confidence=options.confidence, test=options.test)
    printed = published_table(results)
    for drawn in (comparison_table(comparison) if len(results.study.lineages) > 1 else None, printed):
        if drawn is not None:
            print()
            draw(drawn)
    for reason in missing(comparison):
        say(f"failed: {reason}")
    if options.markdown is not None:
        written(options.markdown, "\n".join(filter(None, (markdown(comparison), published_markdown(results)))))
    if options.csv is not None:
        written(options.csv, as_csv(comparison))
