"""Diagnostics on the test images: accuracy by generation, superclasses, calibration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tutelage.analysis.diagnostics.generations import HEAD, Line, lacking
from tutelage.analysis.sheets import Record, Sheet, over, points, sheet
from tutelage.evaluation import accuracy, ece, nll
from tutelage.evaluation.calibration import FOLDS, Reliability, cross_fit, fit_temperature, reliability
from tutelage.evaluation.semantics import centre_distances, coarse_accuracy, superclass_share

BINS = 15
_COARSE = (*HEAD, "top-1", "coarse top-1", "mistakes within", "by chance", "Dist^C (ours)", "Dist^S (ours)")
_CALIBRATION = (*HEAD, "NLL", "ECE", "overconfidence", "temperature", "NLL scaled", "ECE scaled", "fitted on")
_FITTED = (
    f"NLL in nats; ECE over {BINS} bins; overconfidence: mean confidence less accuracy. The temperature is fitted "
    "on the holdout where there is one. Else it is cross-fitted on the test images: each is scaled by what fits "
    f"the other {FOLDS - 1} of {FOLDS} folds, never by a temperature that saw its label; the median is shown, and "
    "such values are for comparison only, since they need labelled test images."
)


def generations(lines: Sequence[Line], reference: str | None) -> Sheet:
    """Accuracy over the generations, beside the last one of a reference arm where there is one."""
    own = [line for line in lines if line.arm == reference]
    baseline = _top1(own[-1]) if own else {}
    rows, series = [], []
    for line in lines:
        found = _top1(line)
        theirs = baseline if own and line.lineage.data.name == own[-1].lineage.data.name else {}
        apart = [value - theirs[seed] for seed, value in found.items() if seed in theirs]
        to_baseline = "" if own and line is own[-1] else points(apart, sign="+")
        rows.append((*line.head(), points(list(found.values())), to_baseline))
        for seed, value in found.items():
            series.append(line.record({"seed": seed, "top1": value, "baseline": theirs.get(seed)}))
    reading = "Last epoch."
    if own:
        reading += (
            f" The baseline, dashed in the figure: the last generation of {reference}, of the same seeds; "
            "differences in points, without a test (`tutelage show` has those)."
        )
    title = "Accuracy over the generations on the test images (Figure 2 of arXiv 1805.05551 v1)"
    return sheet("generations", title, (*HEAD, "test top-1", "to the baseline"), rows, [reading], series)


def coarse(lines: Sequence[Line]) -> tuple[Sheet]:
    """Superclasses: accuracy, mistakes within them, and how far apart they lie."""
    rows, series = [], []
    without: list[Line] = []
    unread: list[Line] = []
    for line in lines:
        kept = line.labels()
        if kept is None or kept.superclasses is None:
            (unread if kept is None else without).append(line)
            continue
        found: list[Record] = []
        for seed, model in line.models.items():
            logits, labels = _on_test(model.predictions())
            classes = logits.shape[1]
            mistakes = torch.bincount(labels * classes + logits.argmax(1), minlength=classes**2)
            within = superclass_share(mistakes.reshape(classes, classes), kept.superclasses) or (None, None)
            dist_c, dist_s = centre_distances(logits.double().softmax(1), labels, kept.superclasses)
            values: Record = {
                "top1": accuracy(logits, labels),
                "coarse_top1": coarse_accuracy(logits, labels, kept.superclasses),
                "mistakes_within": within[0],
                "by_chance": within[1],
                "dist_c": dist_c,
                "dist_s": dist_s,
            }
            found.append(values)
            series.append(line.record({"seed": seed, **values}))
        *shares, dist_cs, dist_ss = ([values[name] for values in found] for name in found[0])
        rows.append((*line.head(), *map(points, shares), over(dist_cs, 4), over(dist_ss, 4)))
    reading = (
        "Coarse top-1: the superclass of the best class is the label's. Mistakes within: those that stay in the "
        "label's superclass; by chance: were all other classes as likely. Dist^C and Dist^S: the names are those "
        "of Yang et al. (AAAI 2019), whose definition was not found; this one is ours: the mean distance of the "
        "mean scores of two classes of one superclass, and of two superclasses. Not comparable with published "
        "values."
    )
    notes = [
        *([reading] if rows else []),
        *lacking("No superclasses (coarse labels) in the data", without, lines),
        *lacking("Labels not read yet (`tutelage diagnose` does it)", unread, lines),
    ]
    return (sheet("coarse", "Superclasses on the test images, in percent", _COARSE, rows, notes, series),)


def calibration(lines: Sequence[Line]) -> tuple[Sheet, Sheet]:
    """Calibration, and the reliability diagram, before and after temperature scaling."""
    rows, series, gap_rows, gap_series, unfit = [], [], [], [], []
    for line in lines:
        found: list[Record] = []
        fitted = ""
        plain, after = [], []
        for seed, model in line.models.items():
            predictions = model.predictions()
            logits, labels = _on_test(predictions)
            temperatures, fitted = _temperatures(predictions)
            confidence = logits.double().softmax(1).max(1).values.mean().item()
            values: Record = {
                "nll": nll(logits, labels),
                "ece": ece(logits, labels, BINS),
                "overconfidence": confidence - accuracy(logits, labels),
            }
            plain.append(reliability(logits, labels, BINS))
            if temperatures is None:
                values |= dict.fromkeys(("temperature", "nll_scaled", "ece_scaled", "fitted_on"))
                unfit.append(f"{line.arm}/{line.row.generation} at seed {seed}")
            else:
                scaled = logits.double() / temperatures[:, None]
                values |= {"temperature": temperatures.median().item(), "nll_scaled": nll(scaled, labels)}
                values |= {"ece_scaled": ece(scaled, labels, BINS), "fitted_on": fitted}
                after.append(reliability(scaled, labels, BINS))
            found.append(values)
            series.append(line.record({"seed": seed, **values}))
        *cells, _ = (
            over([values[name] for values in found], 3, sign="+" if name == "overconfidence" else "")
            for name in found[0]
        )
        rows.append((*line.head(), *cells, fitted))
        together = _together(plain)
        gaps = zip((together.accuracy - together.confidence).tolist(), together.images.tolist(), strict=True)
        gap_rows.append((*line.head(), *(f"{round(100 * gap):+d}" if images else "" for gap, images in gaps)))
        for scaled_too, diagrams in ((False, plain), (True, after)):
            bins = _bins(_together(diagrams)) if diagrams else []
            gap_series += [line.record({"scaled": scaled_too, **values}) for values in bins]
    notes = [_FITTED]
    if unfit:
        notes.append(f"No temperature fits, as all labels have the largest logit or far too few: {', '.join(unfit)}.")
    reading = (
        "Headings are the upper ends of the bins; below 0 the network is more confident than right. All images of "
        "all seeds together; empty where there is none. Bins of few images say little: their numbers are in the "
        "CSV."
    )
    title = "Calibration on the test images, as it is and after temperature scaling"
    gap_title = "Reliability on the test images: accuracy less confidence, in points, by bin of confidence"
    ends = (f"{(b + 1) / BINS:.2f}" for b in range(BINS))
    return (
        sheet("calibration", title, _CALIBRATION, rows, notes, series),
        sheet("reliability", gap_title, (*HEAD, *ends), gap_rows, [reading], gap_series),
    )


def _top1(line: Line) -> dict[int, float]:
    found = zip(line.row.seeds, line.row.test, strict=True)
    return {seed: value for seed, m in found if seed in line.models and isinstance(value := m["top1"], float)}


def _on_test(predictions: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return predictions["test"], predictions["test_labels"]


def _temperatures(predictions: dict[str, Tensor]) -> tuple[Tensor | None, str]:
    """The temperature of each test image, and what it was fitted on; None where none fits."""
    logits, labels = _on_test(predictions)
    if "holdout" not in predictions:
        return cross_fit(logits, labels), f"test, {FOLDS} folds"
    held = predictions["holdout_labels"]
    temperature = fit_temperature(predictions["holdout"], held)
    found = None if temperature is None else torch.full((len(labels),), temperature, dtype=torch.float64)
    return found, f"holdout, {len(held):,}"


def _together(diagrams: Sequence[Reliability]) -> Reliability:
    """The diagram of several sets taken as one."""
    images = torch.stack([diagram.images for diagram in diagrams])
    total = images.sum(0)

    def mean(parts: list[Tensor]) -> Tensor:
        return (torch.stack(parts).nan_to_num() * images).sum(0) / total

    return Reliability(total, mean([d.confidence for d in diagrams]), mean([d.accuracy for d in diagrams]))


def _bins(diagram: Reliability) -> list[Record]:
    """The bins that hold any image."""
    parts = zip(*(part.tolist() for part in diagram), strict=True)
    return [
        {"from": b / BINS, "to": (b + 1) / BINS, "images": images, "confidence": confidence, "accuracy": right}
        for b, (images, confidence, right) in enumerate(parts)
        if images
    ]
