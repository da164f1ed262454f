"""The arms of a study compared: for a terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from tutelage.analysis import ArmResult, Comparison
from tutelage.analysis.comparison import LEVEL
from tutelage.analysis.statistics import Paired, Summary
from tutelage.errors import printable
from tutelage.report.remarks import RULE, continued, lost_arms
from tutelage.report.remarks import seeds as told_seeds
from tutelage.study import Failure

if TYPE_CHECKING:
    from rich.table import Table

TESTS = {"t": "paired t test", "wilcoxon": "Wilcoxon's signed ranks", "permutation": "permutation test"}
HEADINGS = ("arm", "model", "seeds", "test top-1", "interval", "difference", "p (Holm)", "verdict", "NLL", "ECE")


def comparison_table(comparison: Comparison) -> Table:
    """One line an arm: accuracy with its interval, the difference to the reference and what it amounts to."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(
        title=Text(_title(comparison)),
        caption=Text(" ".join(notes(comparison))),
        title_justify="left",
        caption_justify="left",
    )
    for heading in HEADINGS:
        words = heading in ("arm", "model", "verdict")
        drawn.add_column(heading, justify="left" if words else "right", no_wrap=heading != "verdict")
    for standing in comparison.standings:
        drawn.add_row(*(Text(cell) for cell in _cells(comparison, standing)))
    return drawn


def markdown(comparison: Comparison) -> str:
    """The comparison as a page: what was asked, the table, what is missing, and where every number comes from."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(_cells(comparison, standing) for standing in comparison.standings)]
    lines = [f"# {_escaped(comparison.results.name)}", "", _escaped(_title(comparison)) + ".", ""]
    if comparison.results.command:
        lines += [*fenced(comparison.results.command), ""]
    lines += [f"| {' | '.join(map(_escaped, row))} |" for row in rows]
    lines += ["", *map(_escaped, notes(comparison))]
    if reasons := missing(comparison):
        lines += ["", "## What failed", "", *(f"- {_escaped(reason)}" for reason in reasons)]
    lines += ["", "## What it was made with", "", *(f"- {_escaped(line)}" for line in provenance(comparison))]
    lines += ["", "## Models", "", "| arm | model | seed | addresses |", "| --- | --- | --- | --- |"]
    for standing in comparison.standings:
        for seed, models in zip(standing.seeds, standing.models, strict=True):
            addresses = " ".join(f"`{model.address}`" for model in models)
            lines.append(f"| {_escaped(standing.arm)} | {_escaped(standing.generation)} | {seed} | {addresses} |")
    return "\n".join(lines) + "\n"


def as_csv(comparison: Comparison) -> str:
    """The comparison as CSV: shares and differences in [0, 1] with all their digits, one line an arm.

    Text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    lines = [_numbers(comparison, standing) for standing in comparison.standings]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def fenced(command: str) -> list[str]:
    """A command as a block of Markdown, whose fence is longer than any run of backticks in it."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", command)), 0)
    return [f"{fence}sh", *map(printable, command.split("\n")), fence]


def missing(comparison: Comparison) -> list[str]:
    """Why arms lack seeds, a line a reason."""
    return [_why(failure) for failure in comparison.results.failures]


def notes(comparison: Comparison) -> list[str]:
    """How to read the table."""
    percent = f"{100 * comparison.confidence:g}"
    interval = f"{percent} % t interval"
    difference = f"Difference: to {comparison.reference}, in points, paired by seed"
    found = [
        f"Last epoch, test set. Interval: {interval} of the mean over seeds. {difference}, with its {interval}.",
        f"p (Holm): {TESTS[comparison.test]}, two-sided, corrected for the number of arms; intervals are not.",
        f"Below {LEVEL} an arm counts as better or worse.",
    ]
    if any(standing.ensemble for standing in comparison.standings):
        found.append("An ensemble costs as many times more to use as it has members, and is corrected apart.")
    if arms := lost_arms(comparison):
        found += [*(f"{arm}." for arm in arms), RULE]
    if comparison.results.study.watch_test:
        found.append("The test set was watched during training; nothing was chosen by it.")
    return found


def provenance(comparison: Comparison) -> list[str]:
    """The data and the versions behind the numbers."""
    from importlib.metadata import version

    models = {model.address: model for standing in comparison.standings for line in standing.models for model in line}
    notes = [model.made() for model in models.values()]
    names = ("device", "precision", "threads", "torch", "python")
    where = {name: sorted({str(note[name]) for note in notes if name in note}) for name in names}
    prints = sorted({model.made_of()["data_fingerprint"] for model in models.values()})
    data = sorted({lineage.data.name for lineage in comparison.results.study.lineages})
    return [
        f"data: {', '.join(data)} (fingerprint {', '.join(prints) or 'unknown'})",
        f"seeds: {' '.join(map(str, comparison.results.study.seeds))}",
        *(f"{name}: {', '.join(values)}" for name, values in where.items() if values),
        *continued(comparison.results),
        f"tutelage {version('tutelage')}, statistics by scipy {version('scipy')}",
    ]


def _title(comparison: Comparison) -> str:
    study = comparison.results.study
    data = ", ".join(dict.fromkeys(lineage.data.name for lineage in study.lineages))
    seeds = f"{len(study.seeds)} seeds" if len(study.seeds) > 1 else "one seed (no interval)"
    return f"{len(study.lineages)} arms on {data}, {seeds}, compared to {comparison.reference}"


def _why(failure: Failure) -> str:
    lines = failure.text.strip().splitlines()
    arm = f"{failure.arm}, " if failure.arm else ""
    return f"{arm}seed {failure.seed}: {lines[-1] if lines else 'no reason given'}"


def _cells(comparison: Comparison, standing: ArmResult) -> tuple[str, ...]:
    asked = len(comparison.results.study.seeds)
    done = len(standing.seeds)
    return (
        standing.arm,
        standing.generation,
        told_seeds(done, asked, len(standing.at_chance)),
        _spread(standing.top1),
        _interval(standing.top1, ".2f"),
        _difference(standing),
        "" if standing.corrected is None else probability(standing.corrected),
        standing.verdict,
        "" if standing.nll is None else f"{standing.nll.mean:.3f}",
        "" if standing.ece is None else f"{standing.ece.mean:.3f}",
    )


def probability(p: float) -> str:
    """A p-value with two digits, and none that pretends to be 0.

    >>> probability(0.0312), probability(0.00001), probability(1.0)
    ('0.031', '< 0.001', '1.0')
    """
    return "< 0.001" if p < 0.001 else f"{p:#.2g}"


def _spread(found: Summary | None) -> str:
    if found is None:
        return ""
    deviation = "" if found.deviation is None else f" ± {100 * found.deviation:.2f}"
    return f"{100 * found.mean:.2f}{deviation}"


def _interval(found: Summary | Paired | None, form: str) -> str:
    if found is None or found.low is None or found.high is None:
        return ""
    return f"{100 * found.low:{form}} to {100 * found.high:{form}}"


def _difference(standing: ArmResult) -> str:
    found = standing.difference
    if found is None:
        return ""
    pairs = f" over {found.n}" if found.n < len(standing.seeds) else ""
    interval = f" ({between})" if (between := _interval(found, "+.2f")) else ""
    return f"{100 * found.mean:+.2f}{interval}{pairs}"


def _escaped(text: str) -> str:
    """Text that stays text in Markdown, on one line."""
    text = printable(text)
    for mark in "\\`*_[]<>|#":
        text = text.replace(mark, f"\\{mark}")
    return text


def _numbers(comparison: Comparison, standing: ArmResult) -> dict[str, object]:
    top1, difference = standing.top1, standing.difference
    return {
        "arm": _harmless(standing.arm),
        "model": _harmless(standing.generation),
        "ensemble": int(standing.ensemble),
        "reference": _harmless(comparison.reference),
        "seeds_asked": len(comparison.results.study.seeds),
        "seeds": " ".join(map(str, standing.seeds)),
        "seeds_at_chance": " ".join(map(str, standing.at_chance)),
        **_parts("top1", top1),
        "top1_deviation": top1 and top1.deviation,
        "common_seeds": " ".join(map(str, standing.common)),
        **_parts("difference", difference),
        "test": comparison.test,
        "confidence": comparison.confidence,
        "p": difference and difference.p,
        "p_holm": standing.corrected,
        "verdict": _harmless(standing.verdict),
        "nll": standing.nll and standing.nll.mean,
        "ece": standing.ece and standing.ece.mean,
        "addresses": " ".join("+".join(model.address for model in models) for models in standing.models),
    }


def _parts(name: str, found: Summary | Paired | None) -> dict[str, float | None]:
    parts = (None,) * 3 if found is None else (found.mean, found.low, found.high)
    return dict(zip((name, f"{name}_low", f"{name}_high"), parts, strict=True))


def _harmless(text: str) -> str:
    """Text that a spreadsheet takes for no formula, and a terminal for no order."""
    text = printable(text)
    return f"'{text}" if text.lstrip()[:1] in tuple("=+-@") else text
