"""The commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from tutelage.cli.commands import export
from tutelage.cli.commands.data import data_app
from tutelage.cli.commands.diagnose import diagnose
from tutelage.cli.commands.report import report
from tutelage.cli.commands.study import (
    AS_USUAL,
    ComparisonOptions,
    Flat,
    machine_of,
    show_comparison,
    study,
    study_command,
)
from tutelage.cli.commands.transfer import transfer
from tutelage.cli.gc_pause import gc_paused
from tutelage.cli.signals import signals_restored
from tutelage.cli.study_request import Asked, announced, listing
from tutelage.paths import runs_folder

Precision = Literal["auto", "bf16", "fp32"]
Things = Literal["recipes", "methods", "models", "experiments", "data", "runs"]

app = App(
    name="tutelage",
    help="Teacher-student training: train a better classifier at the same inference cost.",
    version_flags=["--version"],
    help_on_error=False,
)
app.command(data_app)
app.command(report)
app.command(export.export)
app.command(export.predict)
app.command(diagnose)
app.command(transfer)
app.command(study)  # for the list of commands; dispatch sends requests to study_command


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What `run` can be told beside the recipe's own options.

    Args:
        seeds: One lineage is trained for each; several run side by side.
        runs: The folder of models and runs; TUTELAGE_RUNS or ./runs by default.
        device: cpu, cuda or auto.
        precision: bf16 where the processor multiplies it natively, unless told otherwise.
        watch_test: Measure the test set after each epoch too; nothing is chosen by it, and the table says so.
        meter: Record each term's share of the gradient's norm once an epoch.
        threads: Threads a process; by default the cores are divided among the seeds that run side by side.
        side_by_side: Seeds at once, each in a process of its own; by default one a core, or one on a GPU.
        strict: Refuse to continue a training with other threads, another torch, device, processor or precision than
            it had so far, or on other images; else that is said, and noted in the model.
        teacher_store: Keep a teacher's logits on disk and read them again, bit for bit; auto does where that pays.
            Up to 1.6 GB a teacher for CIFAR-100, in the folder of runs.
        track: Who is told each epoch's measures: tensorboard, mlflow, wandb, several of them, or none; by default
            tensorboard where it is installed.
    """

    seeds: tuple[int, ...] = (0,)
    runs: Path | None = None
    device: str = "auto"
    precision: Precision = "auto"
    threads: int | None = None
    side_by_side: int | None = None
    strict: bool = False
    watch_test: bool = False
    meter: bool = False
    teacher_store: Literal["off", "on", "auto"] = "off"
    track: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """What `explain` can be told beside the recipe's own options.

    Args:
        shares: Load the data and measure each term's share of the gradient on a first batch.
        seed: The lineage's seed for that batch.
        runs: Where trained teachers are looked for; TUTELAGE_RUNS or ./runs by default.
    """

    shares: bool = False
    seed: int = 0
    runs: Path | None = None


def dispatch(argv: list[str]) -> int:
    """Send a request to its command; returns the exit code."""
    if argv[:1] in (["run"], ["explain"]) and len(argv) > 1 and not argv[1].startswith("-"):
        return _recipe_command(argv[0], argv[1], argv[2:])
    if argv[:1] == ["study"]:
        return study_command(argv[1:], _study)
    code = app(argv, exit_on_error=False, print_error=False, result_action="return_value")
    return code if isinstance(code, int) else 0


def _recipe_command(verb: str, name: str, tokens: list[str]) -> int:
    with gc_paused():
        import tutelage.study  # noqa: F401  # what the rest will need
        from tutelage.cli.options import recipe_app
        from tutelage.recipes import find

        recipe = find(name)
    if verb == "run":
        built = recipe_app(verb, name, recipe, RunOptions, _run_lineage)
    else:
        built = recipe_app(verb, name, recipe, ExplainOptions, _explain_lineage)
    code = built(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    return code if isinstance(code, int) else 0


def _run_lineage(lineage: Any, options: RunOptions) -> int:
    from tutelage.study import Study

    machine = machine_of(options, len(options.seeds))
    study = Study(lineages=(lineage,), seeds=options.seeds, watch_test=options.watch_test, meter=options.meter)
    return _study(Asked(study=study, track=options.track), options.runs or runs_folder(), machine)


def _study(
    asked: Asked, runs: Path, machine: Any, command: str = "", comparison: ComparisonOptions = AS_USUAL
) -> int:
    from tutelage.cli import DONE, FAILED, STOPPED
    from tutelage.cli.progress import follow, heard, say
    from tutelage.engine import keep_freed_memory
    from tutelage.lineage import Stopped
    from tutelage.study import run, studies
    from tutelage.track import chosen, tracked

    trackers = chosen(asked.track)
    keep_freed_memory()
    study = asked.study
    with signals_restored() as stop:
        events = run(
            study, runs=runs, machine=machine, should_stop=stop, command=command, experiment=asked.experiment
        )
        told = announced(tracked(heard(events, stop), study, trackers, runs, say), asked.note, say)
        try:
            failed = follow(told, study, machine)
        except Stopped as stopped:
            say(f"{stopped}; the same command continues from there")
            return STOPPED
    if failed and study.name not in studies(runs):
        return FAILED  # the folder is gone, and that has been said
    show(study.name, comparison=comparison, trust=True, runs=runs)
    return FAILED if failed else DONE


def _explain_lineage(lineage: Any, options: ExplainOptions) -> int:
    from tutelage.cli.console import say
    from tutelage.data.load import facts, load
    from tutelage.paths import data_folder
    from tutelage.report import explanation

    shares = []
    if options.shares:
        from tutelage.engine import Engine
        from tutelage.lineage import LineageNetworks, models_of

        engine = Engine.choose()
        splits = load(lineage.data, data_folder())
        models = models_of(lineage, options.seed, splits.fingerprint, engine.precision, options.runs or runs_folder())
        classroom = LineageNetworks(lineage, models, options.seed, splits, engine)
        shares = [classroom.first_shares(place) for place in range(len(models))]
    say(*explanation(lineage, facts(lineage.data, data_folder()), shares).split("\n"))
    if shares:
        print("shares are norms of the terms' gradients at the first step; untrained teachers answer as they are")
    return 0


@app.command(name="run")
def run_help() -> int:
    """Train what is missing of a recipe's lineage, measure, print the table: tutelage run RECIPE [options]."""
    return _which_recipe("run")


@app.command(name="explain")
def explain_help() -> int:
    """Say what a recipe would do, and train nothing: tutelage explain RECIPE [options]."""
    return _which_recipe("explain")


def _which_recipe(verb: str) -> int:
    from tutelage.recipes import recipes

    raise ValueError(f"tutelage {verb} needs a recipe: {', '.join(recipes())}")


@app.command(name="list")
def list_things(what: Things | None = None, /, *, runs: Path | None = None) -> int:
    """List what there is.

    Args:
        what: recipes, methods, models, experiments, data or runs; everything by default.
        runs: The folder of models and runs; TUTELAGE_RUNS or ./runs by default.
    """
    from tutelage import methods, recipes
    from tutelage.cli.console import say
    from tutelage.cli.options import summary
    from tutelage.data.load import names as data_names
    from tutelage.models.build import names as model_names
    from tutelage.study import studies

    described: dict[str, Callable[[], dict[str, Callable[..., Any]]]] = {
        "recipes": recipes.recipes,
        "methods": methods.factories,
    }
    plain: dict[str, Callable[[], Iterable[str]]] = {
        "models": model_names,
        "experiments": listing,
        "data": data_names,
        "runs": lambda: studies(runs or runs_folder()),
    }
    for kind in (*described, *plain) if what is None else (what,):
        print(f"{kind}:")
        if kind in described:
            for name, function in described[kind]().items():
                print(f"  {name:<28} {summary(function)}")
        else:
            for name in plain[kind]():
                say(f"  {name}")
    return 0


@app.command
def show(
    run: str,
    /,
    *,
    comparison: Annotated[ComparisonOptions, Flat] = AS_USUAL,
    reference: str | None = None,
    trust: Annotated[bool, Parameter(negative=())] = False,
    runs: Path | None = None,
) -> int:
    """Print the table of a run again, and how its arms compare; of one that is still running, what is finished.

    Args:
        run: A name from `tutelage list runs`.
        reference: The arm that the others are compared to; by default the one that the study was given.
        trust: Import the code of a network from outside tutelage where the run cannot be told apart without.
        runs: The folder of models and runs; TUTELAGE_RUNS or ./runs by default.
    """
    from tutelage.analysis import load_results
    from tutelage.cli.console import draw, say
    from tutelage.report import continued, run_table

    folder = runs or runs_folder()
    results = load_results(run, folder, trust=trust)
    if reference is not None:  # a slip of the pen is told before anything is shown
        results = replace(results, study=replace(results.study, reference=reference))
    draw(run_table(results))
    show_comparison(results, comparison)
    for line in continued(results):
        say(line)
    say(f"models and predictions: {folder / 'models'}", f"this run: {folder / 'studies' / run}")
    return 0
