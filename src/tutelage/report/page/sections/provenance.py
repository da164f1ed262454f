"""Where every number of a page comes from: command, data, versions, models, configurations."""

from __future__ import annotations

import json
from typing import Any

from tutelage import serialization
from tutelage.analysis import Comparison, Results
from tutelage.report.comparison import provenance
from tutelage.report.page.blocks import Listing, Section, Statement, Table

_WIDTH = 110
_NOTED = ("device", "precision", "threads", "torch", "python", "commit")


def origin(comparison: Comparison) -> Section:
    """All that made the numbers of a study."""
    results = comparison.results
    blocks: list[Statement | Table | Listing] = []
    if results.command:
        blocks.append(Listing(title="The command, as it was typed", text=results.command, folded=False))
    notes = {model.address: model.made() for row in results.rows for model in row.models if model.finished}
    facts = [tuple(line.partition(": ")[::2]) for line in provenance(comparison)]
    commits = sorted({str(note["commit"]) for note in notes.values() if "commit" in note})
    facts += [("git commit", ", ".join(commits) or "not recorded"), *_data(results)]
    blocks.append(
        Table(
            name="made-with", title="What it was made with", columns=("what", "value"), rows=tuple(map(_pair, facts))
        )
    )
    if results.failures:
        rows = tuple((failure.arm, f"{failure.seed}", failure.text) for failure in results.failures)
        blocks.append(Table(name="failures", title="What failed", columns=("arm", "seed", "reason"), rows=rows))
    blocks += [_objectives(results), _models(results, notes)]
    blocks += [
        Listing(title=f"Configuration of {lineage.name}", text=compact(serialization.to_json(lineage)))
        for lineage in results.study.lineages
    ]
    words = (
        "A model lies in the folder of runs under models/ and its address, the hash of all that made it: network, "
    )
    words += "objective, schedule, data, seed, precision and teachers. Its config.json holds the arm's configuration "
    words += "below with its place and seed, its manifest.json the SHA-256 of each of its files."
    return Section(title="Where the numbers come from", words=(words,), blocks=tuple(blocks))


def compact(tree: Any, indent: int = 0) -> str:
    """JSON for reading: what fits on a line stands on one.

    >>> print(compact({"a": [1, 2], "b": {"c": None}}))
    {"a": [1, 2], "b": {"c": null}}
    """
    line = json.dumps(tree, ensure_ascii=False)
    if len(line) + indent <= _WIDTH or not isinstance(tree, dict | list) or not tree:
        return line
    pad = " " * (indent + 2)
    if isinstance(tree, list):
        inner = [pad + compact(item, indent + 2) for item in tree]
        return "[\n" + ",\n".join(inner) + "\n" + " " * indent + "]"
    inner = [f"{pad}{json.dumps(key, ensure_ascii=False)}: {compact(item, indent + 2)}" for key, item in tree.items()]
    return "{\n" + ",\n".join(inner) + "\n" + " " * indent + "}"


def _pair(fact: tuple[str, ...]) -> tuple[str, str]:
    what, value = fact
    return (what, value) if value else ("software", what)


def _data(results: Results) -> list[tuple[str, str]]:
    """What a model of each dataset says of it."""
    lineages = {lineage.name: lineage for lineage in results.study.lineages}
    models = {lineages[row.lineage].data: model for row in results.rows for model in row.models if model.finished}
    found = []
    for data, model in models.items():
        made = model.made_of()
        names, shape = made["class_names"], "x".join(map(str, made["input"]))
        found += [(f"classes of {data.name}", f"{len(names)}: {', '.join(names)}"), (f"images of {data.name}", shape)]
    return found


def _objectives(results: Results) -> Table:
    rows = []
    for lineage in results.study.lineages:
        for place, generation in enumerate(lineage.generations):
            schedule = generation.schedule
            teachers = ", ".join(lineage.generations[teacher].name for teacher in generation.teachers)
            pace = f"{schedule.epochs} epochs of {schedule.batch_size} images a step, lr {schedule.lr:g} "
            pace += f"by {type(schedule.decay).__name__}, weight decay {schedule.weight_decay:g}"
            told = (generation.model, f"{generation.objective}", teachers, pace)
            rows.append((lineage.name, generation.name, f"{place}", *told))
    return Table(
        name="objectives",
        title="What each generation minimises",
        columns=("arm", "generation", "place", "network", "minimises", "taught by", "schedule"),
        rows=tuple(rows),
        folded=True,
    )


def _models(results: Results, notes: dict[str, dict[str, Any]]) -> Table:
    """Every model of the study; one that several arms share stands in each."""
    rows = []
    for row in results.rows:
        for seed, model in zip(results.study.seeds, row.models, strict=True):
            note = notes.get(model.address)
            told = tuple(str((note or {}).get(name, "")) for name in _NOTED)
            state = "not finished" if note is None else "finished"
            rows.append((row.lineage, row.generation, f"{row.place}", f"{seed}", model.address, state, *told))
    columns = ("arm", "generation", "place", "seed", "address", "state", *_NOTED)
    always = len(columns) - len(_NOTED)
    kept = [place for place in range(len(columns)) if place < always or len({row[place] for row in rows}) > 1]
    return Table(
        name="models",
        title=f"Models ({len(rows)})",
        columns=tuple(columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in rows),
        words=("What is the same for all of them stands above.",),
        code=("address",),
        folded=True,
    )
