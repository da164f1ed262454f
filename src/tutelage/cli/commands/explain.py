"""``tutelage explain``: describe what a recipe would train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from tutelage.cli.commands.run import recipe_name
from tutelage.cli.console import print_lines
from tutelage.cli.exit_codes import DONE
from tutelage.cli.gc_pause import gc_paused
from tutelage.cli.options import SWITCH, Runs
from tutelage.cli.recipe_app import exit_code, recipe_app, recipes_app


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainOptions:
    """What is measured beside the description.

    Args:
        shares: Load the data, and measure each term's share of the gradient on the first batch.
        time: Load the data, and estimate from a few steps how long each generation trains on this machine.
        seed: The seed of that batch and of these steps.
    """

    shares: Annotated[bool, SWITCH] = False
    time: Annotated[bool, SWITCH] = False
    seed: int = 0
    runs: Runs = None


def explain() -> None:
    """Describe what a recipe would train, and train nothing.

    For each generation: its teachers, its objective as a formula with numbers, the expected score of the labelled
    class, and its cost.
    """


def explain_command(tokens: list[str]) -> int:
    """Carry out ``tutelage explain``; returns the exit code."""
    with gc_paused():
        from tutelage.recipes import find_recipe

        name = recipe_name("explain", tokens)
        if name is None:
            return exit_code(recipes_app("explain", explain.__doc__ or "", ExplainOptions), ["--help"])
        recipe = find_recipe(name)

    def body(recipe_options: dict[str, Any], options: ExplainOptions) -> int:
        from tutelage import api

        text = api.explain(
            recipe, shares=options.shares, time=options.time, seed=options.seed, runs=options.runs, **recipe_options
        )
        print_lines(*text.split("\n"))
        return DONE

    return exit_code(recipe_app("explain", name, recipe, ExplainOptions, body), tokens[1:])
