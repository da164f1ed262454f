"""``tutelage list``: what can be named in the other commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args

from tutelage.cli.console import print_lines
from tutelage.cli.exit_codes import DONE
from tutelage.cli.options import Runs
from tutelage.cli.recipe_app import summary
from tutelage.paths import runs_folder

Kind = Literal["recipes", "methods", "models", "experiments", "data", "runs"]


def list_names(what: Kind | None = None, /, *, runs: Runs = None) -> int:
    """List recipes, methods, models, datasets and runs.

    Args:
        what: Only recipes, methods, models, experiments, data or runs.
    """
    from tutelage import methods, recipes
    from tutelage.data.load import dataset_names
    from tutelage.models.build import names as model_names
    from tutelage.study import studies

    kinds: tuple[Kind, ...] = get_args(Kind) if what is None else (what,)
    for kind in kinds:
        print_lines(f"{kind}:")
        match kind:
            case "recipes":
                lines = _summaries(recipes.recipes())
            case "methods":
                lines = _summaries(methods.factories())
            case "models":
                lines = iter(model_names())
            case "experiments":
                lines = _experiments()
            case "data":
                lines = iter(dataset_names())
            case "runs":
                lines = iter(studies(runs or runs_folder()))
        for line in lines:
            print_lines(f"  {line}")
    return DONE


def _summaries(functions: Mapping[str, Callable[..., Any]]) -> Iterator[str]:
    for name, function in functions.items():
        yield f"{name:<28} {summary(function)}"


def _experiments() -> Iterator[str]:
    """One line per experiment, then one per table that tutelage cannot run, with the reason."""
    from tutelage.experiments import experiments, unavailable_experiments

    for name, experiment in experiments().items():
        yield f"{name:<52} {experiment.description}"
    cases_of: dict[tuple[str, str], list[str]] = {}
    for name, reason in unavailable_experiments().items():
        table, _, case = name.rpartition("/")
        cases_of.setdefault((table, reason), []).append(case)
    for (table, reason), cases in cases_of.items():
        yield f"not available: {table}/{' '.join(cases)}: {reason}"
