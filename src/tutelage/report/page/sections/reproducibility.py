"""The section that says how to reproduce every number: command, data, versions, models, configurations."""

from __future__ import annotations

import json
from typing import Any

from tutelage import serialization
from tutelage.analysis import Comparison, Results
from tutelage.report.comparison import provenance_facts
from tutelage.report.format import Cell, text
from tutelage.report.page.blocks import Block, Listing, Section
from tutelage.report.table import Column, Table

_LINE_WIDTH = 110
_ABOUT_ADDRESSES = (
    "A model is in the folder of runs under models/ and its address, the hash of everything that makes it: network, "
    "objective, schedule, data, seed, precision and teachers. Its config.json holds its place, its seed and the "
    "configuration of its arm, as below; its manifest.json holds the SHA-256 of each of its files."
)
_ENVIRONMENT = (
    Column("device"),
    Column("precision"),
    Column("threads", "number"),
    Column("torch"),
    Column("python"),
    Column("commit", "code"),
)


def reproducibility(comparison: Comparison) -> Section:
    """Everything that made the numbers of a study."""
    results = comparison.results
    blocks: list[Block] = []
    if results.command:
        blocks.append(Listing(title="The command, as it was typed", text=results.command, folded=False))
    environments = _environments(results)
    commits = sorted({str(each["commit"]) for each in environments.values() if "commit" in each})
    facts = [
        *provenance_facts(comparison),
        ("git commit", ", ".join(commits) or "not recorded"),
        *_data(results),
    ]
    blocks.append(
        Table(
            name="made-with",
            title="What it was made with",
            columns=(Column("what"), Column("value")),
            rows=tuple((text(name), text(value)) for name, value in facts),
        )
    )
    if results.failures:
        failures = [(text(failure.arm), _number(failure.seed), text(failure.message)) for failure in results.failures]
        columns = (Column("arm"), Column("seed", "number"), Column("reason"))
        blocks.append(Table(name="failures", title="What failed", columns=columns, rows=tuple(failures)))
    blocks += [_objectives(results), _models(results, environments)]
    blocks += [
        Listing(title=f"Configuration of {lineage.name}", text=compact(serialization.to_json(lineage)))
        for lineage in results.study.lineages
    ]
    return Section(title="Where the numbers come from", text=(_ABOUT_ADDRESSES,), blocks=tuple(blocks))


def compact(tree: Any, indent: int = 0) -> str:
    """JSON for reading: what fits on one line stands on one.

    >>> print(compact({"a": [1, 2], "b": {"c": None}}))
    {"a": [1, 2], "b": {"c": null}}
    """
    line = json.dumps(tree, ensure_ascii=False)
    if len(line) + indent <= _LINE_WIDTH or not isinstance(tree, dict | list) or not tree:
        return line
    pad = " " * (indent + 2)
    if isinstance(tree, list):
        inner = [pad + compact(item, indent + 2) for item in tree]
        return "[\n" + ",\n".join(inner) + "\n" + " " * indent + "]"
    inner = [f"{pad}{json.dumps(key, ensure_ascii=False)}: {compact(item, indent + 2)}" for key, item in tree.items()]
    return "{\n" + ",\n".join(inner) + "\n" + " " * indent + "}"


def _environments(results: Results) -> dict[str, dict[str, Any]]:
    """What each finished model records of its training, by address; one that several arms share is read once."""
    models = {
        result.model.address: result.model
        for generation in results.generations
        for result in generation.seeds.values()
    }
    return {address: model.provenance() for address, model in models.items()}


def _data(results: Results) -> list[tuple[str, str]]:
    """The classes and the shape of the images of each dataset, from one of its models."""
    data = {lineage.name: lineage.data for lineage in results.study.lineages}
    models = {
        data[generation.arm]: result.model
        for generation in results.generations
        for result in generation.seeds.values()
    }
    facts: list[tuple[str, str]] = []
    for dataset, model in models.items():
        names = model.config()["class_names"]
        facts += [
            (f"classes of {dataset.name}", f"{len(names)}: {', '.join(names)}"),
            (f"images of {dataset.name}", "x".join(map(str, model.input_shape()))),
            *((f"of {dataset.name}", note) for note in model.config().get("data_notes", ())),
        ]
    return facts


def _objectives(results: Results) -> Table:
    rows = []
    for generation in results.generations:
        schedule = generation.generation.schedule
        cells = (
            text(generation.arm),
            text(generation.name),
            _number(generation.place),
            text(generation.network),
            text(f"{generation.generation.objective}"),
            text(", ".join(generation.teachers)),
            text(
                f"{schedule.epochs} epochs, {schedule.batch_size} images per step, lr {schedule.lr:g} by "
                f"{type(schedule.decay).__name__}, weight decay {schedule.weight_decay:g}"
            ),
        )
        rows.append(cells)
    columns = (
        Column("arm"),
        Column("generation"),
        Column("place", "number"),
        Column("network"),
        Column("minimises"),
        Column("taught by"),
        Column("schedule"),
    )
    return Table(
        name="objectives", title="What each generation minimises", columns=columns, rows=tuple(rows), folded=True
    )


def _models(results: Results, environments: dict[str, dict[str, Any]]) -> Table:
    """Every model of the study; one that several arms share stands in each.

    Of the environment, only what differs between models has a column.
    """
    notes = [
        [environments.get(model.address, {}).get(column.name) for column in _ENVIRONMENT]
        for generation in results.generations
        for model in generation.models.values()
    ]
    differing = [place for place in range(len(_ENVIRONMENT)) if len({str(note[place]) for note in notes}) > 1]
    rows: list[tuple[Cell, ...]] = []
    for generation in results.generations:
        for seed, model in generation.models.items():
            note = notes[len(rows)]
            cells = (
                text(generation.arm),
                text(generation.name),
                _number(generation.place),
                _number(seed),
                text(model.address),
                text("finished" if seed in generation.seeds else "not finished"),
                *(_recorded(note[place]) for place in differing),
            )
            rows.append(cells)
    columns = (
        Column("arm"),
        Column("generation"),
        Column("place", "number"),
        Column("seed", "number"),
        Column("address", "code"),
        Column("state"),
        *(_ENVIRONMENT[place] for place in differing),
    )
    return Table(
        name="models",
        title=f"Models ({len(rows)})",
        columns=columns,
        rows=tuple(rows),
        notes=("What is the same for all of them stands above.",),
        folded=True,
    )


def _number(value: int) -> Cell:
    return Cell(f"{value}", value)


def _recorded(value: Any) -> Cell:
    """What a manifest records; one from elsewhere may hold anything."""
    if value is None:
        return Cell()
    return Cell(f"{value}", value if isinstance(value, int | float) else f"{value}")
