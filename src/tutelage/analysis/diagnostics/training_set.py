"""Diagnostics on the training images: energy, sorted scores, second choices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tutelage.analysis.diagnostics.generations import HEAD, UNMEASURED, Line, lacking
from tutelage.analysis.sheets import Record, Sheet, over, points, sheet
from tutelage.evaluation import accuracy
from tutelage.evaluation.scores import concentration, quantiles, second_choices, sorted_scores
from tutelage.evaluation.semantics import superclass_share

NOT_AUGMENTED = "Training images as they are, not augmented, after the last epoch."
_ENERGY = (*HEAD, "label, predicted", "label, measured", "difference", "best", "2nd to 5th", "all others")
_SCORES = (*HEAD, "training top-1", "label's score", "its 5 %", "its median", "1st", "2nd", "3rd", "4th", "5th")
_SECOND = (*HEAD, "label second", "most frequent", "in superclass", "by chance", "the most frequent pairs")


def energy(lines: Sequence[Line]) -> tuple[Sheet]:
    """The label's score that the closed form predicts, against what the training images measure."""
    rows, series = [], []
    for line in lines:
        predicted = line.row.expected
        measured: dict[str, list[float]] = {"label": [], "best": [], "second_to_fifth": [], "others": []}
        for seed, measures in zip(line.row.seeds, line.row.train, strict=True):
            if seed not in line.models:
                continue
            label, best = measures["primary"], measures["energy"]
            assert isinstance(label, float)
            assert isinstance(best, list)
            values = (label, best[0], sum(best[1:5]), max(0.0, 1.0 - sum(best[:5])))
            parts = dict(zip(measured, values, strict=True))
            for name, value in parts.items():
                measured[name].append(value)
            series.append(line.record({"seed": seed, "predicted": predicted, **parts}))
        apart = [] if predicted is None else [value - predicted for value in measured["label"]]
        label_cell, *others = (over(values, 4) for values in measured.values())
        told = "no closed form" if predicted is None else f"{predicted:.4f}"
        rows.append((*line.head(), told, label_cell, over(apart, 4, sign="+"), *others))
    reading = (
        "Mean scores. Predicted: the labelled class's score at the optimum of the objective, where that has a "
        "closed form; the best class is then the label's, and all others share the rest. A network that does not "
        "fit all of its training images stays away from it."
    )
    return (
        sheet("energy", "Energy on the training images, predicted and measured", _ENERGY, rows, [reading], series),
    )


def scores(lines: Sequence[Line]) -> tuple[Sheet]:
    """The sorted score distribution."""
    rows: list[tuple[str, ...]] = []
    series: list[Record] = []
    missing = []
    for line in lines:
        said, kept = line.on_training_images(), line.labels()
        if not said or kept is None:
            missing.append(line)
            continue
        best = torch.cat([sorted_scores(logits) for logits in said.values()])
        own = torch.cat([_label_scores(logits, kept.labels) for logits in said.values()])
        right = [accuracy(logits, kept.labels) for logits in said.values()]
        found = [own.mean().item(), *quantiles(own, [0.05, 0.5]), *best.mean(0)[:5].tolist()]
        cells = [f"{value:.4f}" for value in found] + [""] * (8 - len(found))
        rows.append((*line.head(len(said)), points(right), *cells))
        for rank, values in enumerate(best.T, 1):
            low, median, high = quantiles(values, [0.05, 0.5, 0.95])
            mean = values.mean().item()
            series.append(line.record({"rank": rank, "mean": mean, "low": low, "median": median, "high": high}))
    reading = (
        f"{NOT_AUGMENTED} 1st to 5th: mean score of the best class, of the second best, and so on; its 5 %: what the "
        "label's score is below on one image in twenty. All images of all seeds together."
    )
    title = "Sorted scores on the training images (Figure 1 of arXiv 1805.05551 v1)"
    return (sheet("scores", title, _SCORES, rows, [reading, *lacking(UNMEASURED, missing, lines)], series),)


def second(lines: Sequence[Line]) -> tuple[Sheet]:
    """Which class gets the second place, by true class."""
    rows: list[tuple[str, ...]] = []
    series: list[Record] = []
    missing, without = [], []
    for line in lines:
        said, kept = line.on_training_images(), line.labels()
        if not said or kept is None:
            missing.append(line)
            continue
        names = line.classes()
        counts = torch.stack([second_choices(logits, kept.labels) for logits in said.values()]).sum(0)
        shares = counts.double() / counts.sum(1, keepdim=True).clamp_min(1)
        if kept.superclasses is None:
            without.append(line)
        kin = None if kept.superclasses is None else superclass_share(counts, kept.superclasses)
        summary = [counts.diag().sum().item() / counts.sum().item(), concentration(counts), *(kin or ())]
        cells = [f"{100 * share:.2f}" for share in summary] + [""] * (4 - len(summary))
        rows.append((*line.head(len(said)), *cells, ", ".join(_often(shares, names))))
        for c, j in counts.nonzero().tolist():
            pair: Record = {"true": names[c], "second": names[j]}
            series.append(line.record({**pair, "images": int(counts[c, j]), "share": shares[c, j].item()}))
    reading = (
        f"{NOT_AUGMENTED} Label second: the image's own class got the second place. Most frequent: the second "
        "choice is the most frequent one of the image's class. In superclass: of the second choices that are "
        "another class, those in the label's superclass; by chance: were all other classes as likely. Pairs: true "
        "class, second choice, share of that class's images. All images of all seeds together."
    )
    notes = [reading, *lacking("No superclasses in the data", without, lines), *lacking(UNMEASURED, missing, lines)]
    title = "Second choices on the training images, in percent (Figure 1 of arXiv 1805.05551 v1)"
    return (sheet("second", title, _SECOND, rows, notes, series),)


def _label_scores(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.double().softmax(1).gather(1, labels[:, None])[:, 0]


def _often(shares: Tensor, names: Sequence[str], count: int = 3) -> list[str]:
    """The most frequent pairs of a class and another one in the second place, in percent of the class."""
    away = shares.clone().fill_diagonal_(0.0).flatten()
    found = away.topk(min(count, len(away)))
    pairs = zip(found.values.tolist(), found.indices.tolist(), strict=True)
    return [
        f"{names[place // len(names)]} - {names[place % len(names)]} {100 * share:.0f}"
        for share, place in pairs
        if share > 0
    ]
