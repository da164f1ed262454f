"""The page of evidence, made from a run of the tests that carry the marker ``fault``; the rows stand in rows.toml.

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

from tutelage.version import code


def page(results: list[dict[str, Any]], command: str) -> str:
    """The evidence as Markdown."""
    by_row: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        for row in result["rows"]:
            by_row[row].append(result)
    rows = tomllib.loads(Path(__file__).with_name("rows.toml").read_text())
    made = (
        f"Made by `{command}` on {datetime.now(UTC):%Y-%m-%d}, commit {code().get('commit', 'unknown')}, "
        f"{platform.machine()} with {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}, torch {torch.__version__}."
    )
    limits = (
        "A kill leaves the page cache alone, so kills show nothing about power loss: that is row 3's, on a file "
        "system that loses what was not synced. No failure in N tries bounds the rate of failure by 3/N (95 %)."
    )
    broken = {row for row, found in by_row.items() if any(result["outcome"] == "failed" for result in found)}
    outcomes = Counter(result["outcome"] for result in results)
    told = ", ".join(f"{count:,} {outcome}" for outcome, count in outcomes.items())
    kept = (
        f"{len(by_row) - len(broken)} of {len(rows)} promises kept, {len(broken)} broken, "
        f"{len(rows) - len(by_row)} without a test; of the tests, {told}. What is counted below is what was "
        "tried in them; a test may stand for several rows."
    )
    lines = ["# Faults, and what came of them", "", kept, "", made, "", limits]
    for row, told_of in rows.items():
        found = by_row[int(row)]
        bad = [result for result in found if result["outcome"] == "failed"]
        state = "**Not kept.**" if bad else "Kept." if found else "**Without a test.**"
        lines += ["", f"## {row}. {told_of['fault']}", "", f"{state} Promise: {told_of['promise']}.", ""]
        cases: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for result in found:
            cases[re.sub(r"\[.*", "", result["test"])].append(result)
        for test, results_of in sorted(cases.items()):
            outcomes = [result["outcome"] for result in results_of]
            sums: Counter[str] = Counter()
            for result in results_of:
                for count, what in result["tried"]:
                    sums[what] += count
            told = [f"{what}: {count:,}" for what, count in sums.items()]
            counts = ", ".join(f"{outcomes.count(o)} {o}" for o in ("passed", "failed", "skipped") if o in outcomes)
            why = {result["reason"] for result in results_of if result["reason"]}
            lines.append(f"- `{test}`: {counts}" + "".join(f"; {t}" for t in told) + "".join(f" ({w})" for w in why))
        if "cannot" in told_of:
            lines.append(f"- Not tested here: {told_of['cannot']}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]))
