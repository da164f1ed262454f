"""What ``make audit`` prints for a report of pip-audit, and without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faults.audit import main, summarize

SKIPPED = {"name": "b", "skip_reason": "Dependency not found"}
GOOD: dict[str, Any] = {"name": "a", "version": "1", "vulns": []}
BAD = GOOD | {"vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2"]}]}


@pytest.mark.parametrize(
    ("packages", "text", "code"),
    [
        ([GOOD, GOOD], "0 known vulnerabilities in 2 packages", 0),
        ([BAD], "1 known vulnerabilities in 1 packages\na 1: PYSEC-1 (CVE-1), repaired in 2", 1),
        ([GOOD, SKIPPED], "0 known vulnerabilities in 1 of 2 packages; no answer on the others", 0),
        ([SKIPPED, SKIPPED], "could not ask: no answer on any of the 2 packages", 0),
    ],
)
def test_a_report(packages: list[dict[str, Any]], text: str, code: int) -> None:
    assert summarize({"dependencies": packages}) == (text, code)


def test_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = tmp_path / "pip-audit"
    assert main(str(fake)) == 0
    fake.write_text("#!/bin/sh\necho 'ConnectionError: no route' >&2\nexit 1\n")
    fake.chmod(0o755)
    assert main(str(fake)) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("could not ask: pip-audit cannot be installed")
    assert second == "could not ask: ConnectionError: no route"
