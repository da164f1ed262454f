"""The measures of ensembles of finished models: computed once from stored logits, and cached in the runs folder.

``RUNS/ensembles/DIGEST`` holds the measures of one ensemble. It may be deleted, and is then computed again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from tutelage import storage
from tutelage.artifacts.model import Model
from tutelage.evaluation import Measures, ensemble, measure
from tutelage.serialization import digest
from tutelage.validation import parse_json

_FILE = "measures.json"


def ensemble_measures(models: Sequence[Model]) -> Measures:
    """The measures on the test set of an ensemble of finished models, which averages their probabilities.

    The logits are read only where the cache has no measures of exactly these weights. Where the cache cannot be
    written (a read-only folder, a full disk), the measures are computed each time.

    Errors: ``storage.Damaged`` for a model that does not match its manifest.
    """
    members = [(model.address, model.weights_digest()) for model in models]
    folder = models[0].runs / "ensembles" / digest(members)[:24]
    if (measures := _read(folder / _FILE)) is not None:
        return measures
    predictions = [model.predictions() for model in models]
    for model, each in zip(models, predictions, strict=True):
        if not predictions[0]["test_labels"].equal(each["test_labels"]):
            first, other = models[0].address, model.address
            raise storage.Damaged(f"models {first} and {other} were measured on different test images")
    measures = measure(ensemble([each["test"] for each in predictions]), predictions[0]["test_labels"])
    with contextlib.suppress(OSError, storage.InUse, storage.NewerFormat), storage.lock(folder):
        storage.commit(folder, {_FILE: storage.json_bytes(measures.to_json())}, {"models": members})
    return measures


def _read(path: Path) -> Measures | None:
    """The measures that a folder holds; None where it is incomplete or damaged."""
    if not storage.is_finished(path.parent):
        return None
    try:
        content = storage.read_listed(path.parent, path.name, storage.MAX_JSON)
        return Measures.from_json(parse_json(content, str(path)), "test")
    except ValueError:
        return None
