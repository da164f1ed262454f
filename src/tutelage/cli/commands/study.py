"""``tutelage study``: train several arms and compare them."""

from __future__ import annotations

import inspect
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tutelage.cli.gc_pause import gc_paused
from tutelage.cli.options import ComparisonOptions, TrainingOptions
from tutelage.cli.recipe_app import exit_code, options_app, take
from tutelage.cli.study_request import StudyOptions, split_tokens, study_request
from tutelage.cli.training import train

WHAT = inspect.Parameter(
    "what",
    inspect.Parameter.POSITIONAL_ONLY,
    default=None,
    annotation=Annotated[
        Path | None, Parameter(help="A study as a TOML file, or an experiment of `tutelage list experiments`.")
    ],
)
OWNERS = (
    ("Study options", StudyOptions),
    ("Training options", TrainingOptions),
    ("Comparison options", ComparisonOptions),
)


def study() -> None:
    """Train several arms with the same seeds and compare them: recipes, a TOML file, or an experiment of a paper.

    For example: tutelage study --arm RECIPE --arm "RECIPE --option VALUE" --seeds 0 1 2

    Any option of a recipe (`tutelage run RECIPE --help`) that stands outside the quotes goes to every arm whose
    recipe has it and that does not set it itself.
    """


def study_command(tokens: list[str]) -> int:
    """Carry out ``tutelage study``; returns the exit code."""
    with gc_paused():
        import tutelage.study  # noqa: F401  # what the rest will need
        from tutelage.recipes import recipes

        recipes()
    own, shared = split_tokens(tokens)

    def body(what: Path | None = None, **options: Any) -> int:
        training, comparison = take(TrainingOptions, options), take(ComparisonOptions, options)
        request = study_request(what, take(StudyOptions, options), training, shared)
        request = replace(request, command=shlex.join(["tutelage", "study", *tokens]))
        return train(request, training, comparison)

    return exit_code(options_app("tutelage study", study.__doc__ or "", OWNERS, body, [WHAT]), own)
