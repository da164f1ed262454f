"""Studies whose models were never trained: their folders are written with numbers that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tutelage import serialization, storage
from tutelage.analysis import Comparison, compare, load_results
from tutelage.analysis.diagnostics.training_set import SecondChoice, SecondChoicesRecord
from tutelage.artifacts.model import Model
from tutelage.evaluation import measure
from tutelage.lineage import Lineage, models_of
from tutelage.lineage.addresses import dependencies, generation_seed
from tutelage.recipes import call
from tutelage.recipes.baselines import baseline
from tutelage.study import Failure, Study, StudyRecord
from tutelage.study.files import write_failures, write_study

IMAGES, CLASSES = 200, 10
Accuracy = Callable[[str, int, int], float]


def arm(name: str, recipe: Callable[..., Lineage] = baseline, epochs: int = 12, **options: object) -> Lineage:
    return replace(call(recipe, epochs=epochs, **options), name=name)


def write(
    study: Study,
    runs: Path,
    accuracy: Accuracy,
    *,
    class_names: Sequence[str] = tuple("0123456789"),
    command: str = "tutelage study --arm ...",
    without: Sequence[tuple[str, int]] = (),
    failures: Sequence[Failure] = (),
    watch_test: bool = False,
) -> str:
    """Write a study and its models; ``accuracy`` is by arm, place and seed, ``without`` omits pairs (arm, seed).

    Nothing is synced to the disk: these folders need not outlive a power cut.
    """
    with pytest.MonkeyPatch.context() as unsynced:
        unsynced.setattr("os.fsync", lambda handle: None)
        return _write_all(study, runs, accuracy, class_names, command, without, failures, watch_test)


def _write_all(
    study: Study,
    runs: Path,
    accuracy: Accuracy,
    class_names: Sequence[str],
    command: str,
    without: Sequence[tuple[str, int]],
    failures: Sequence[Failure],
    watch_test: bool,
) -> str:
    count = len(study.lineages)
    record = StudyRecord(
        study=study,
        precision="fp32",
        fingerprints=("f" * 64,) * count,
        num_classes=(CLASSES,) * count,
        command=command,
        watch_test=watch_test,
    )
    write_study(record, runs)
    write_failures(study.name, failures, runs)
    for lineage in study.lineages:
        for seed in study.seeds:
            if (lineage.name, seed) in without:
                continue
            models = models_of(lineage, seed, "f" * 64, "fp32", runs)
            for place, model in enumerate(models):
                if not model.finished:
                    share = accuracy(lineage.name, place, seed)
                    _write(lineage, place, seed, share, models, class_names, watch_test)
    return study.name


def second_choices(
    classes: Sequence[str], place: int, images: Mapping[tuple[int, int], int], arm: str = "chain"
) -> SecondChoicesRecord:
    """The record of a generation with so many images of each pair (true class, second choice)."""
    of_class = {true: sum(count for (row, _), count in images.items() if row == true) for true, _ in images}
    pairs = tuple(
        SecondChoice(true=classes[true], second=classes[second], images=count, share=count / of_class[true])
        for (true, second), count in images.items()
    )
    return SecondChoicesRecord(
        arm=arm,
        generation=f"generation {place}",
        place=place,
        seeds=(0,),
        classes=tuple(classes),
        label_second=0.0,
        most_frequent=0.0,
        in_superclass=None,
        by_chance=None,
        pairs=pairs,
        frequent=(),
    )


def comparison(study: Study, runs: Path) -> Comparison:
    return compare(load_results(study.name, runs))


def _write(
    lineage: Lineage,
    place: int,
    seed: int,
    share: float,
    models: Sequence[Model],
    class_names: Sequence[str],
    watch_test: bool,
) -> None:
    generator = torch.Generator().manual_seed(1000 * seed + place)
    labels = torch.arange(IMAGES) % CLASSES
    logits = torch.randn(IMAGES, CLASSES, generator=generator)
    right = torch.arange(IMAGES) < round(share * IMAGES)
    logits[torch.arange(IMAGES), torch.where(right, labels, (labels + 1) % CLASSES)] += 8.0
    epochs = lineage.generations[place].schedule.epochs
    lines = [
        {"epoch": epoch, "loss": 2.5 / epoch, "accuracy": share * epoch / epochs, "lr": 0.1}
        | ({"test/top1": share * epoch / epochs} if watch_test else {})
        for epoch in range(1, epochs + 1)
    ]
    measures = measure(logits, labels).to_json()
    config = {
        "place": place,
        "seed": generation_seed(seed, place),
        "lineage_seed": seed,
        "precision": "fp32",
        "teachers": [models[teacher].address for teacher in lineage.generations[place].teachers],
        "dependencies": dependencies(lineage.generations[place]),
        "lineage": serialization.to_json(lineage),
        "data_fingerprint": "f" * 64,
        "data_notes": [],
        "input": [1, 8, 8],
        "class_names": list(class_names),
    }
    files = {
        "config.json": storage.json_bytes(config),
        "metrics.jsonl": "".join(json.dumps(line) + "\n" for line in lines).encode(),
        "predictions.safetensors": storage.tensor_bytes({"test": logits, "test_labels": labels}),
        "evaluation.json": storage.json_bytes({"test": measures, "train": measures}),
        "weights.safetensors": storage.tensor_bytes({"none": torch.zeros(1)}),
    }
    note = {"device": "x86_64", "precision": "fp32", "threads": 1, "torch": "2.13.0", "python": "3.11.7"}
    storage.commit(models[place].folder, files, note)
