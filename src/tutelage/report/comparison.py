"""The comparison of a study's arms: as a table, a page of Markdown, and records for CSV."""

from __future__ import annotations

from importlib.metadata import version

from tutelage.analysis import ArmResult, Comparison, Paired, Summary
from tutelage.analysis.comparison import LEVEL
from tutelage.report import markdown
from tutelage.report.csv import records_csv
from tutelage.report.format import Cell, escape_markdown, fenced, interval, mean, mean_std, p_value, seeds, text
from tutelage.report.remarks import AT_CHANCE, at_chance_arms, data_marks, data_names, environment_changes
from tutelage.report.table import Column, Record, Table
from tutelage.study import Failure

TESTS = {"t": "paired t test", "wilcoxon": "Wilcoxon's signed ranks", "permutation": "permutation test"}
COLUMNS = (
    Column("arm"),
    Column("model"),
    Column("seeds", "number"),
    Column("test top-1", "number"),
    Column("interval", "number"),
    Column("difference", "number"),
    Column("p (Holm)", "number"),
    Column("verdict"),
    Column("NLL", "number"),
    Column("ECE", "number"),
)


def comparison_table(comparison: Comparison) -> Table:
    """One row per arm: accuracy with its interval, the difference to the reference, and what it amounts to."""
    return Table(
        name="comparison",
        title=title(comparison),
        columns=COLUMNS,
        rows=tuple(cells(comparison, arm) for arm in comparison.arms),
        notes=(" ".join(notes(comparison)),),
        records=tuple(_record(comparison, arm) for arm in comparison.arms),
    )


def comparison_markdown(comparison: Comparison) -> str:
    """A page: the request, the table, what failed, and the provenance of every number."""
    lines = [f"# {escape_markdown(comparison.results.name)}", "", escape_markdown(title(comparison)) + ".", ""]
    if comparison.results.command:
        lines += [*fenced(comparison.results.command), ""]
    lines += [*markdown.rows(comparison_table(comparison)), "", *map(escape_markdown, notes(comparison))]
    if reasons := failures(comparison):
        lines += ["", "## What failed", "", *(f"- {escape_markdown(reason)}" for reason in reasons)]
    lines += ["", "## What it was made with", "", *(f"- {escape_markdown(line)}" for line in provenance(comparison))]
    lines += ["", "## Models", "", "| arm | model | seed | addresses |", "| --- | --- | --- | --- |"]
    for arm in comparison.arms:
        for seed, models in arm.models.items():
            addresses = " ".join(f"`{model.address}`" for model in models)
            lines.append(f"| {escape_markdown(arm.arm)} | {escape_markdown(label(arm))} | {seed} | {addresses} |")
    return "\n".join(lines) + "\n"


def comparison_csv(comparison: Comparison) -> str:
    """The comparison as CSV: shares and differences in [0, 1] with all their digits, one line per arm."""
    return records_csv(comparison_table(comparison).records)


def failures(comparison: Comparison) -> list[str]:
    """Why arms lack seeds, one line per reason."""
    return [_failure(failure) for failure in comparison.results.failures]


def notes(comparison: Comparison) -> list[str]:
    """How to read the table."""
    percentage = f"{100 * comparison.confidence:g}"
    t_interval = f"{percentage} % t interval"
    difference = f"Difference: to {comparison.reference}, in points, paired by seed"
    lines = [
        f"Last epoch, test set. Interval: {t_interval} of the mean over seeds. {difference}, with its {t_interval}.",
        f"p (Holm): {TESTS[comparison.test]}, two-sided, corrected for the number of arms; intervals are not.",
        f"Below {LEVEL} an arm counts as better or worse.",
    ]
    if any(arm.ensemble for arm in comparison.arms):
        lines.append("An ensemble costs as many times more to use as it has members, and is corrected separately.")
    if arms := at_chance_arms(comparison):
        lines += [*(f"{arm}." for arm in arms), AT_CHANCE]
    if comparison.results.watch_test:
        lines.append("The test set was watched during training; nothing was chosen by it.")
    return lines


def provenance(comparison: Comparison) -> list[str]:
    """The data and the versions behind the numbers, one line per fact."""
    return [f"{name}: {value}" for name, value in provenance_facts(comparison)]


def provenance_facts(comparison: Comparison) -> list[tuple[str, str]]:
    """The data and the versions behind the numbers, as names and values; a name may appear more than once."""
    models = {model.address: model for arm in comparison.arms for each in arm.models.values() for model in each}
    records = [model.provenance() for model in models.values()]
    names = ("device", "precision", "threads", "torch", "python")
    values = {name: sorted({str(record[name]) for record in records if name in record}) for name in names}
    fingerprints = sorted({model.config()["data_fingerprint"] for model in models.values()})
    data = sorted({lineage.data.name for lineage in comparison.results.study.lineages})
    return [
        ("data", f"{', '.join(data)} (fingerprint {', '.join(fingerprints) or 'unknown'})"),
        *(("data", f"{name}: {mark}") for name, mark in data_marks(comparison.results).items()),
        ("seeds", " ".join(map(str, comparison.results.study.seeds))),
        *((name, ", ".join(values[name])) for name in names if values[name]),
        *(("not bit for bit", change) for change in environment_changes(comparison.results)),
        ("software", f"tutelage {version('tutelage')}, statistics by scipy {version('scipy')}"),
    ]


def title(comparison: Comparison) -> str:
    """What is compared."""
    study = comparison.results.study
    data = ", ".join(data_names(comparison.results).values())
    count = f"{len(study.seeds)} seeds" if len(study.seeds) > 1 else "one seed (no interval)"
    return f"{len(study.lineages)} arms on {data}, {count}, compared to {comparison.reference}"


def label(arm: ArmResult) -> str:
    """The name of what an arm was compared by: its last generation, or the ensemble of all."""
    return f"ensemble of 0 to {arm.place}" if arm.ensemble else arm.generation


def verdict(comparison: Comparison, arm: ArmResult) -> str:
    """The verdict on an arm in words."""
    match arm.verdict:
        case "unfinished":
            return "not finished"
        case "other data":
            data = {lineage.name: lineage.data.name for lineage in comparison.results.study.lineages}
            return f"not compared: on {data[arm.arm]}"
        case "no common seed":
            return "no seed in common with the reference"
        case "same models":
            return "the reference's own models"
        case "one seed":
            by_image = "" if arm.mcnemar is None else f"; McNemar p = {arm.mcnemar.p:.2g} for these two models"
            return f"one seed: no interval{by_image}"
        case "not shown":
            assert arm.difference is not None
            return f"no difference shown at n = {arm.difference.n}"
    return arm.verdict


def cells(comparison: Comparison, arm: ArmResult) -> tuple[Cell, ...]:
    """The cells of an arm, one for each of ``COLUMNS``."""
    top1 = [measures.top1 for measures in arm.measures.values()]
    bounds = "" if arm.top1 is None else interval(arm.top1.low, arm.top1.high)
    low = None if arm.top1 is None or arm.top1.low is None else 100 * arm.top1.low
    return (
        text(arm.arm),
        text(label(arm)),
        seeds(len(arm.measures), len(comparison.results.study.seeds), len(arm.at_chance)),
        mean_std(top1, scale=100.0),
        Cell(bounds, low),
        difference(arm),
        p_value(arm.corrected),
        text(verdict(comparison, arm)),
        mean([measures.nll for measures in arm.measures.values()]),
        mean([measures.ece for measures in arm.measures.values()]),
    )


def difference(arm: ArmResult) -> Cell:
    """The difference to the reference in points, with its interval."""
    paired = arm.difference
    if paired is None:
        return Cell()
    pairs = f" over {paired.n}" if paired.n < len(arm.measures) else ""
    bounds = interval(paired.low, paired.high, sign=True)
    return Cell(f"{100 * paired.mean:+.2f}{f' ({bounds})' if bounds else ''}{pairs}", 100 * paired.mean)


def _failure(failure: Failure) -> str:
    lines = failure.message.strip().splitlines()
    arm = f"{failure.arm}, " if failure.arm else ""
    return f"{arm}seed {failure.seed}: {lines[-1] if lines else 'no reason recorded'}"


def _record(comparison: Comparison, arm: ArmResult) -> Record:
    return {
        "arm": arm.arm,
        "model": label(arm),
        "ensemble": int(arm.ensemble),
        "reference": comparison.reference,
        "seeds_requested": len(comparison.results.study.seeds),
        "seeds": " ".join(map(str, arm.measures)),
        "seeds_at_chance": " ".join(map(str, arm.at_chance)),
        **_parts("top1", arm.top1),
        "top1_deviation": None if arm.top1 is None else arm.top1.deviation,
        "common_seeds": " ".join(map(str, arm.differences)),
        **_parts("difference", arm.difference),
        "test": comparison.test,
        "confidence": comparison.confidence,
        "p": None if arm.difference is None else arm.difference.p,
        "p_holm": arm.corrected,
        "verdict": verdict(comparison, arm),
        "nll": None if arm.nll is None else arm.nll.mean,
        "ece": None if arm.ece is None else arm.ece.mean,
        "addresses": " ".join("+".join(model.address for model in models) for models in arm.models.values()),
    }


def _parts(name: str, summary: Summary | Paired | None) -> dict[str, float | None]:
    """A mean with the ends of its interval."""
    if summary is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: summary.mean, f"{name}_low": summary.low, f"{name}_high": summary.high}
