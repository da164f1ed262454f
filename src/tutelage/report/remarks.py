"""What a reader of a study's numbers must be told beside them: who learned nothing, who was continued elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.analysis import Comparison, Results

RULE = "At chance: so many right answers may come about without a look at the images (p >= 0.001)."


def seeds(done: int, asked: int, at_chance: int) -> str:
    """How many seeds a mean is of, and how many of them learned nothing.

    >>> seeds(3, 3, 0), seeds(2, 3, 0), seeds(3, 3, 1)
    ('3', '2 of 3', '3 (1 at chance)')
    """
    count = f"{done}" if done == asked else f"{done} of {asked}"
    return f"{count} ({at_chance} at chance)" if at_chance else count


def lost(results: Results) -> list[str]:
    """A line a generation that did not learn for some seeds."""
    several = len(results.study.lineages) > 1
    found = []
    for row in results.rows:
        name = f"{row.lineage}: {row.generation}" if several else row.generation
        found += _lost(name, row.seeds, row.at_chance)
        found += _lost(f"{name}, ensemble of 0 to {row.place}", row.ensemble_seeds, row.ensemble_at_chance)
    return found


def lost_arms(comparison: Comparison) -> list[str]:
    """The same of the generations that a comparison is about."""
    found = []
    for standing in comparison.standings:
        name = f"{standing.arm}, {standing.generation}" if standing.ensemble else standing.arm
        found += _lost(name, standing.seeds, standing.at_chance)
    return found


def _lost(name: str, done: Sequence[int], at_chance: Sequence[int]) -> list[str]:
    if not at_chance:
        return []
    which = f"seed{'s' if len(at_chance) > 1 else ''} {', '.join(map(str, at_chance))}"
    if len(done) == 1:
        return [f"{name}: at chance ({which})"]
    return [f"{name}: {len(at_chance)} of {len(done)} seeds at chance ({which}), included in the mean"]


def continued(results: Results) -> list[str]:
    """A line a model whose training went on in other surroundings than it began in."""
    found: dict[str, str] = {}
    for row in results.rows:
        for seed, model in zip(results.study.seeds, row.models, strict=True):
            if not model.finished:
                continue
            for change in model.made().get("continued", []):
                differs = [f"{name} {' -> '.join(map(str, pair))}" for name, pair in change.items() if name != "step"]
                where = f"{row.lineage}, {row.generation}, seed {seed}, from step {change['step'] + 1} on"
                found[f"{model.address} {change['step']}"] = f"not bit for bit: {where}: {', '.join(differs)}"
    return list(found.values())
