"""Notes on the generations that a diagnostic lacks, and why."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.analysis.diagnostics.catalog import Diagnostics
from tutelage.analysis.diagnostics.records import GenerationRecord, Missing, Reason

NOT_AUGMENTED = "Training images, not augmented, after the last epoch."

_SENTENCES: tuple[tuple[Reason, str], ...] = (
    ("one temperature", "One temperature for all images, or none"),
    ("no teacher", "No teacher"),
    ("teacher unfinished", "The teacher's model is missing"),
    ("no superclasses", "No superclasses (coarse labels) in the data"),
    ("labels not stored", "Labels not read yet (run `tutelage diagnose`)"),
    ("logits not stored", "Not run on the training images yet (run `tutelage diagnose`)"),
)
"""The beginnings of the notes, in the order they are printed."""


def generation_name(record: GenerationRecord) -> str:
    """A generation as it is named in notes.

    >>> generation_name(GenerationRecord(arm="tolerant", generation="patriarch", place=0))
    'tolerant/patriarch'
    """
    return f"{record.arm}/{record.generation}"


def missing_notes(diagnostics: Diagnostics, missing: Sequence[Missing]) -> list[str]:
    """One note per reason, with the generations that it applies to; an arm that lacks all of them by its name."""
    notes = []
    for reason, sentence in _SENTENCES:
        lacking = {(one.arm, one.place) for one in missing if one.reason == reason}
        if lacking:
            notes.append(f"{sentence}: {_names(lacking, diagnostics.finished)}.")
    return notes


def _names(lacking: set[tuple[str, int]], every: Sequence[GenerationRecord]) -> str:
    if len(lacking) == len(every):
        return "all"
    names = []
    for arm in dict.fromkeys(record.arm for record in every):
        chain = [record for record in every if record.arm == arm]
        own = [record for record in chain if (record.arm, record.place) in lacking]
        names += [arm] if len(own) == len(chain) else [generation_name(record) for record in own]
    return ", ".join(names)
