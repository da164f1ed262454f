"""The evidence page: the promises of rows.toml, and what came of the tests marked ``fault``, part by part.

``make torture`` writes it to docs/evidence/faults.md (torture.py).
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def page(parts: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """The evidence page as Markdown, from the results of parts; ``names`` are those of all parts."""
    results = [test for part in parts for test in part["tests"]]
    by_row: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        for row in result["rows"]:
            by_row[row].append(result)
    rows = tomllib.loads(Path(__file__).with_name("rows.toml").read_text())
    limits = (
        "A kill does not affect the page cache, so kills say nothing about power loss; row 3 covers it, on a file "
        "system that loses what was not synced. No failure in N tries bounds the rate of failure by 3/N (95 %)."
    )
    broken = {row for row, tests in by_row.items() if any(result["outcome"] == "failed" for result in tests)}
    outcomes = Counter(result["outcome"] for result in results)
    totals = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items())
    summary = (
        f"{len(by_row) - len(broken)} of {len(rows)} promises kept, {len(broken)} broken, "
        f"{len(rows) - len(by_row)} without a test; of the tests, {totals}. The counts below are what was tried in "
        "the tests; a test may belong to several rows."
    )
    lines = ["# Faults, and what came of them", "", summary, "", *_origin(parts, names), "", limits]
    for row, entry in rows.items():
        tests = by_row[int(row)]
        if len(parts) < len(names):
            state = "Kept in the parts that have run." if tests else "**Not run.**"
        else:
            state = "Kept." if tests else "**Without a test.**"
        if int(row) in broken:
            state = "**Not kept.**"
        lines += ["", f"## {row}. {entry['fault']}", "", f"{state} Promise: {entry['promise']}."]
        notes = [f"- Not tested here: {entry['cannot']}"] if "cannot" in entry else []
        if notes or tests:
            lines += ["", *_test_lines(tests), *notes]
    return "\n".join(lines) + "\n"


def _origin(parts: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    """Which commands wrote the page, when, and on what machine."""
    absent = [name for name in names if name not in {part["part"] for part in parts}]
    lines = [
        f"Commit {parts[0]['commit']}." + (f" **Parts that have not run: {', '.join(absent)}.**" if absent else "")
    ]
    lines += ["", "| command | date | minutes | tests | on |", "|---|---|---|---|---|"]
    for part in parts:
        machine = f"{part['processor']}, {part['versions']}".replace("|", "\\|")
        minutes, tests = f"{part['seconds'] / 60:.0f}", f"{len(part['tests']):,}"
        lines.append(f"| `{part['command']}` | {part['date']} | {minutes} | {tests} | {machine} |")
    return lines


def _test_lines(results: list[dict[str, Any]]) -> list[str]:
    """One line per test function: its outcomes, the sums of what it tried, and why it was skipped."""
    by_test: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        by_test[re.sub(r"\[.*", "", result["test"])].append(result)
    lines = []
    for test, cases in sorted(by_test.items()):
        outcomes = [case["outcome"] for case in cases]
        sums: Counter[str] = Counter()
        for case in cases:
            for count, description in case["tried"]:
                sums[description] += count
        counts = ", ".join(f"{outcomes.count(o)} {o}" for o in ("passed", "failed", "skipped") if o in outcomes)
        tried = "".join(f"; {description}: {count:,}" for description, count in sums.items())
        reasons = "".join(f" ({reason})" for reason in {case["reason"] for case in cases if case["reason"]})
        lines.append(f"- `{test}`: {counts}{tried}{reasons}")
    return lines
