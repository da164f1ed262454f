"""Write the evidence page from a run of the tests marked ``fault``; the rows are in rows.toml.

``python -m tests.faults.rows RESULTS.json COMMAND`` prints docs/evidence/faults.md; ``make torture`` calls it.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import tomllib
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from tutelage.version import source_version


def page(results: list[dict[str, Any]], command: str) -> str:
    """The evidence page as Markdown."""
    by_row: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        for row in result["rows"]:
            by_row[row].append(result)
    rows = tomllib.loads(Path(__file__).with_name("rows.toml").read_text())
    origin = (
        f"Written by `{command}` on {datetime.now(UTC):%Y-%m-%d}, "
        f"commit {source_version().get('commit', 'unknown')}, "
        f"{platform.machine()} with {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}, torch {torch.__version__}."
    )
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
    lines = ["# Faults, and what came of them", "", summary, "", origin, "", limits]
    for row, entry in rows.items():
        tests = by_row[int(row)]
        state = "Kept." if tests else "**Without a test.**"
        if int(row) in broken:
            state = "**Not kept.**"
        lines += ["", f"## {row}. {entry['fault']}", "", f"{state} Promise: {entry['promise']}.", ""]
        lines += _test_lines(tests)
        if "cannot" in entry:
            lines.append(f"- Not tested here: {entry['cannot']}")
    return "\n".join(lines) + "\n"


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


if __name__ == "__main__":
    sys.stdout.write(page(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]))
