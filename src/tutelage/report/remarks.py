"""Remarks that a reader needs beside the numbers: models at chance, training resumed in another environment."""

from __future__ import annotations

from collections.abc import Mapping

from tutelage.analysis import Comparison, Measures, Results

AT_CHANCE = "At chance: accuracy is not significantly above guessing (binomial test, p >= 0.001)."


def at_chance(results: Results) -> list[str]:
    """One line for each generation that is at chance at some seeds."""
    several = len(results.study.lineages) > 1
    lines = []
    for generation in results.generations:
        name = f"{generation.arm}: {generation.name}" if several else generation.name
        lines += _at_chance(name, generation.test())
        lines += _at_chance(f"{name}, ensemble of 0 to {generation.place}", generation.ensemble())
    return lines


def at_chance_arms(comparison: Comparison) -> list[str]:
    """One line for each arm of a comparison that is at chance at some seeds."""
    lines = []
    for arm in comparison.arms:
        name = f"{arm.arm}, ensemble of 0 to {arm.place}" if arm.ensemble else arm.arm
        lines += _at_chance(name, arm.measures)
    return lines


def _at_chance(name: str, measures: Mapping[int, Measures]) -> list[str]:
    seeds = [seed for seed, each in measures.items() if each.at_chance]
    if not seeds:
        return []
    which = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    if len(measures) == 1:
        return [f"{name}: at chance ({which})"]
    return [f"{name}: {len(seeds)} of {len(measures)} seeds at chance ({which}), included in the mean"]


def continued(results: Results) -> list[str]:
    """One line for each model whose training was resumed in another environment than it began in."""
    return [f"not bit for bit: {change}" for change in environment_changes(results)]


def environment_changes(results: Results) -> list[str]:
    """Where and how the environment changed while a model was trained; a model that arms share appears once."""
    lines: dict[str, str] = {}
    for generation in results.generations:
        for seed, result in generation.seeds.items():
            for change in result.model.provenance().get("continued", []):
                differs = [f"{name} {' -> '.join(map(str, pair))}" for name, pair in change.items() if name != "step"]
                where = f"{generation.arm}, {generation.name}, seed {seed}, from step {change['step'] + 1} on"
                lines[f"{result.model.address} {change['step']}"] = f"{where}: {', '.join(differs)}"
    return list(lines.values())


def data_marks(results: Results) -> dict[str, str]:
    """How the images of finished models differ from the official set in whose layout they are, by dataset."""
    models = [result.model for each in results.generations for result in list(each.seeds.values())[:1]]
    configs = [model.config() for model in models]
    marks = {config["lineage"]["data"]["name"]: config.get("data_mark", "") for config in configs}
    return {name: mark for name, mark in marks.items() if mark}


def data_names(results: Results) -> dict[str, str]:
    """How titles name each dataset of a study: with what makes it another one than the official set."""
    marks = data_marks(results)
    names = [lineage.data.name for lineage in results.study.lineages]
    return {name: f"{name} ({marks[name]})" if name in marks else name for name in names}
