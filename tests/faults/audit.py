"""Known vulnerabilities of the packages in constraints.txt, as pip-audit tells them.

Leaves with 1 where there are any, and with 0 where there are none or nobody can be asked, which it says: without a
network pip-audit fails, and behind a mirror that does not know them it calls packages free of faults that it passed
over.
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


def said(found: dict[str, Any]) -> tuple[str, int]:
    """What an answer of pip-audit comes to, and with which exit code."""
    packages = found["dependencies"]
    asked = [package for package in packages if "skip_reason" not in package]
    faults = [
        f"{package['name']} {package['version']}: {fault['id']} ({', '.join(fault.get('aliases', []))}), "
        f"repaired in {', '.join(fault.get('fix_versions', [])) or 'no version yet'}"
        for package in asked
        for fault in package.get("vulns", [])
    ]
    if not asked:
        return f"could not ask: no answer on any of the {len(packages)} packages", 0
    head = f"{len(faults)} known vulnerabilities in {len(asked)} of {len(packages)} packages; no answer on the others"
    head = head if len(asked) < len(packages) else f"{len(faults)} known vulnerabilities in {len(asked)} packages"
    return "\n".join([head, *faults]), int(bool(faults))


def main(command: str) -> int:
    """Ask, and print the answer."""
    try:
        done = subprocess.run([command, *OPTIONS], capture_output=True, text=True, check=False)
        text, code = said(json.loads(done.stdout))
    except OSError as error:
        text, code = f"could not ask: pip-audit cannot be installed ({error})", 0
    except ValueError:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        text, code = f"could not ask: {reason[:300]}", 0
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
