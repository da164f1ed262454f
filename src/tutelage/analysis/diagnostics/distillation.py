"""Diagnostics of what was taught: targets and what became of them, temperatures, how far pupils agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage.analysis.diagnostics.generations import HEAD, UNMEASURED, Line, lacking, taught_by
from tutelage.analysis.diagnostics.training_set import NOT_AUGMENTED
from tutelage.analysis.sheets import Record, Sheet, over, points, sheet
from tutelage.analysis.training_logits import training_logits
from tutelage.artifacts.model import Model
from tutelage.evaluation import accuracy
from tutelage.evaluation.agreement import agreement, divergence, logit_correlation
from tutelage.evaluation.scores import quantiles
from tutelage.evaluation.targets import Taught, by_class, taught, wrong_targets
from tutelage.lineage.spec import generation_seed

CHANGED = 1e-9
"""The mass from which on a target counts as changed: what rounding moves stays below it."""

_TARGETS = (*HEAD, "teacher", "wrong %", "term", "target", "changed %", "mass moved", "in all", "most often wrong, %")
_CURVE = tuple(part / 20 for part in range(21))
_SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_TEMPERATURES = (
    *HEAD,
    "term",
    "mean",
    "lowest",
    "5 %",
    "25 %",
    "median",
    "75 %",
    "95 %",
    "highest",
    "at the floor, %",
)
_AGREEMENT = (*HEAD, "teacher", "same best class, %", "KL", "correlation", "teacher's top-1", "student's top-1")


class _Lesson(NamedTuple):
    """What one seed's teacher said of the training images, and what each term of the objective made of it."""

    labels: Tensor
    wrong: Tensor
    terms: list[Taught]


def lessons(lines: Sequence[Line]) -> tuple[Sheet, Sheet]:
    """How many targets of teachers are wrong and what the objectives change; the temperatures of single images."""
    target_rows: list[tuple[str, ...]] = []
    target_series: list[Record] = []
    rows: list[tuple[str, ...]] = []
    series: list[Record] = []
    missing, fixed = [], []
    for line in _with_teacher(lines):
        found = _lessons(line, lines)
        if not found:
            missing.append(line)
            continue
        target_rows += _target_rows(line, found)
        target_series += _target_records(line, found)
        own = _own_temperatures(found)
        for term, (values, floor) in own.items():
            low = "" if floor is None else f"{100 * (values <= floor).double().mean().item():.2f}"
            cells = [f"{value:.3f}" for value in (values.mean().item(), *quantiles(values, _SHARES))]
            rows.append((*line.head(len(found)), term if len(own) > 1 else "", *cells, low))
            curve = zip(_CURVE, quantiles(values, _CURVE), strict=True)
            series += [line.record({"term": term, "below": share, "temperature": value}) for share, value in curve]
        if not own:
            fixed.append(line)
    lack = [*_without_teacher(lines), *lacking(UNMEASURED, missing, lines)]
    changes = (
        f"{NOT_AUGMENTED} In training a teacher sees augmented views, and may be wrong on more. Changed: the "
        "target differs from the teacher's own distribution at the same temperature; knowledge adjustment does "
        "that where the teacher is wrong. Mass moved: half the sum of absolute differences, mean over the changed "
        "targets; in all: mean over all of them."
    )
    title = "Teachers' targets on the training images: how many are wrong, and what the objective changes"
    end = (
        f"{NOT_AUGMENTED} As the finished student would get them, in the batches of its last epoch. All images of "
        "all seeds together."
    )
    heading = "Temperatures of single training images (dynamic temperature)"
    one = lacking("One temperature for all images, or none", fixed, lines)
    return (
        sheet("targets", title, _TARGETS, target_rows, [changes, *lack], target_series),
        sheet("temperatures", heading, _TEMPERATURES, rows, [end, *one, *lack], series),
    )


def _target_rows(line: Line, found: Sequence[_Lesson]) -> list[tuple[str, ...]]:
    names = line.classes()
    often = ", ".join(_most(_by_class([lesson.wrong for lesson in found], found, len(names)), names))
    head = (*line.head(len(found)), line.teachers, points([lesson.wrong.double().mean().item() for lesson in found]))
    rows: list[tuple[str, ...]] = []
    terms = _terms(found)
    for term in terms:
        altered = [each.moved[each.moved > CHANGED] for each in term]
        share = points([len(some) / len(each.moved) for some, each in zip(altered, term, strict=True)])
        within = over([some.mean().item() for some in altered if len(some)], 4)
        in_all = over([each.moved.mean().item() for each in term], 4)
        name = term[0].term if len(terms) > 1 else ""
        rows.append((*head, name, term[0].formula, share, within, in_all, often))
    return rows or [(*head, "", "not looked into", "", "", "", often)]


def _target_records(line: Line, found: Sequence[_Lesson]) -> list[Record]:
    names = line.classes()
    wrong = _by_class([lesson.wrong for lesson in found], found, len(names)).tolist()
    none: list[float | None] = [None] * len(names)
    told: list[tuple[str | None, list[float | None], list[float | None]]] = []
    for term in _terms(found):
        changed = _by_class([each.moved > CHANGED for each in term], found, len(names)).tolist()
        moved = _by_class([each.moved for each in term], found, len(names)).tolist()
        told.append((term[0].term, changed, moved))
    return [
        line.record({"term": term, "class": name, "wrong": one, "changed": two, "moved": three})
        for term, changes, moves in told or [(None, none, none)]
        for name, one, two, three in zip(names, wrong, changes, moves, strict=True)
        if one == one  # a class without training images has NaN
    ]


def _own_temperatures(found: Sequence[_Lesson]) -> dict[str, tuple[Tensor, float | None]]:
    """By term the temperatures of all images of all seeds, with the floor; only of terms in which images differ."""
    own = {}
    for term in _terms(found):
        values = [each.temperature for each in term if each.temperature is not None]
        if values:
            own[term[0].term] = (torch.cat(values), term[0].floor)
    return own


def _terms(found: Sequence[_Lesson]) -> list[tuple[Taught, ...]]:
    """The matching terms, each with what it made for every seed."""
    return list(zip(*(lesson.terms for lesson in found), strict=True))


def pupils(lines: Sequence[Line]) -> tuple[Sheet]:
    """Whether a student says of the test images what its teacher says."""
    rows, series, gone = [], [], []
    for line in _with_teacher(lines):
        found: list[Record] = []
        for seed, model in line.models.items():
            said, own = taught_by(line, lines, seed, _on_test), model.predictions()
            if said is None:
                continue
            values: Record = {
                "same": agreement(said, own["test"]),
                "kl": divergence(said, own["test"]),
                "correlation": logit_correlation(said, own["test"]),
                "teacher_top1": accuracy(said, own["test_labels"]),
                "top1": accuracy(own["test"], own["test_labels"]),
            }
            found.append(values)
            series.append(line.record({"seed": seed, **values}))
        if not found:
            gone.append(line)
            continue
        same, kl, correlation, theirs, ours = ([values[name] for values in found] for name in found[0])
        shares = (points(same), over(kl, 3), over(correlation, 3), points(theirs), points(ours))
        rows.append((*line.head(len(found)), line.teachers, *shares))
    reading = (
        "KL: mean divergence from teacher to student at temperature 1, in nats. Correlation: mean over the images "
        "of the correlation of the two networks' logits over the classes."
    )
    title = "Agreement of student and teacher on the test images"
    notes = [reading, *_without_teacher(lines), *lacking("The teacher's model is not there", gone, lines)]
    return (sheet("agreement", title, _AGREEMENT, rows, notes, series),)


def _with_teacher(lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line.generation.teachers]


def _without_teacher(lines: Sequence[Line]) -> tuple[str, ...]:
    return lacking("No teacher", [line for line in lines if not line.generation.teachers], lines)


def _on_test(model: Model) -> Tensor:
    return model.predictions()["test"]


def _most(wrong: Tensor, names: Sequence[str], count: int = 3) -> list[str]:
    """The classes whose targets are most often wrong, in percent."""
    found = wrong.nan_to_num().topk(min(count, len(names)))
    pairs = zip(found.values.tolist(), found.indices.tolist(), strict=True)
    return [f"{names[c]} {100 * share:.1f}" for share, c in pairs if share > 0]


def _lessons(line: Line, among: Sequence[Line]) -> list[_Lesson]:
    """What was taught for each seed whose teachers and student were run over the training images."""
    kept, schedule, found = line.labels(), line.generation.schedule, []
    for seed, model in line.models.items():
        teacher, student = taught_by(line, among, seed, training_logits), training_logits(model)
        if kept is None or teacher is None or student is None:
            continue
        terms = taught(
            line.generation.objective,
            student,
            teacher,
            kept.labels,
            batch_size=schedule.batch_size,
            seed=generation_seed(seed, line.row.place),
            epoch=schedule.epochs - 1,
        )
        found.append(_Lesson(kept.labels, wrong_targets(teacher, kept.labels), list(terms)))
    return found


def _by_class(values: Sequence[Tensor], lessons: Sequence[_Lesson], num_classes: int) -> Tensor:
    """The mean of each class over the seeds, ``[K]``."""
    means = [by_class(each, lesson.labels, num_classes) for each, lesson in zip(values, lessons, strict=True)]
    return torch.stack(means).mean(0)
