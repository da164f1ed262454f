"""``tutelage run``: train a recipe."""

from __future__ import annotations

from typing import Any

from tutelage.cli.gc_pause import gc_paused
from tutelage.cli.options import TrainingOptions
from tutelage.cli.recipe_app import exit_code, recipe_app, recipes_app
from tutelage.cli.training import StudyRequest, train


def run() -> None:
    """Train what is missing of a recipe's lineage, measure it, and print the table.

    Models that are trained already are not trained again; a run that was stopped continues.
    """


def run_command(tokens: list[str]) -> int:
    """Carry out ``tutelage run``; returns the exit code."""
    with gc_paused():
        import tutelage.study  # noqa: F401  # what the rest will need
        from tutelage.recipes import call, find_recipe

        name = recipe_name("run", tokens)
        if name is None:
            return exit_code(recipes_app("run", run.__doc__ or "", TrainingOptions), ["--help"])
        recipe = find_recipe(name)

    def body(recipe_options: dict[str, Any], options: TrainingOptions) -> int:
        from tutelage.study import Study

        seeds = (0,) if options.seeds is None else options.seeds
        study = Study(lineages=(call(recipe, **recipe_options),), seeds=seeds)
        return train(StudyRequest(study=study, options=options.train_options()), options)

    return exit_code(recipe_app("run", name, recipe, TrainingOptions, body), tokens[1:])


def recipe_name(verb: str, tokens: list[str]) -> str | None:
    """The recipe that a request names; None where it asks for help, or for nothing.

    Errors: ``ValueError`` for a request that has options and no recipe before them.

    >>> recipe_name("run", ["baseline", "--epochs", "5"]), recipe_name("run", ["--help"])
    ('baseline', None)
    """
    if not tokens or tokens[0] in ("--help", "-h"):
        return None
    if tokens[0].startswith("-"):
        from tutelage.recipes import recipes

        raise ValueError(f"tutelage {verb} needs a recipe before its options: {', '.join(recipes())}")
    return tokens[0]
