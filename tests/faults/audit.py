"""List the known vulnerabilities of the packages in constraints.txt, as reported by pip-audit.

Exits with 1 if there are any, and with 0 if there are none or pip-audit got no answer, which the output states:
without a network pip-audit fails, and behind a mirror without vulnerability data it skips packages and reports no
vulnerabilities.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

OPTIONS = (
    "--no-deps",
    "--disable-pip",
    "--requirement",
    "constraints.txt",
    "--format",
    "json",
    "--progress-spinner",
    "off",
)


def summarize(report: dict[str, Any]) -> tuple[str, int]:
    """The text to print for a report of pip-audit, and the exit code."""
    packages = report["dependencies"]
    known = [package for package in packages if "skip_reason" not in package]
    faults = [
        f"{package['name']} {package['version']}: {fault['id']} ({', '.join(fault.get('aliases', []))}), "
        f"repaired in {', '.join(fault.get('fix_versions', [])) or 'no version yet'}"
        for package in known
        for fault in package.get("vulns", [])
    ]
    if not known:
        return f"could not ask: no answer on any of the {len(packages)} packages", 0
    head = f"{len(faults)} known vulnerabilities in {len(known)} of {len(packages)} packages; no answer on the others"
    head = head if len(known) < len(packages) else f"{len(faults)} known vulnerabilities in {len(known)} packages"
    return "\n".join([head, *faults]), int(bool(faults))


def main(command: str) -> int:
    """Run pip-audit and print a summary."""
    try:
        completed = subprocess.run([command, *OPTIONS], capture_output=True, text=True, check=False)
        text, code = summarize(json.loads(completed.stdout))
    except OSError as error:
        text, code = f"could not ask: pip-audit cannot be installed ({error})", 0
    except ValueError:
        reason = (completed.stderr.strip().splitlines() or ["no reason given"])[-1]
        text, code = f"could not ask: {reason[:300]}", 0
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
