"""``make torture``: every fault at length, in parts that each end within an hour on two cores.

``python -m tests.faults.torture [PART ...]`` runs parts, by default all, and writes the results of each to
``.venv/faults-PART.json``; then it writes docs/evidence/faults.md from all results that are there. The page is about
one commit: nothing runs on files that are not committed, and parts of different commits make no page.

Sizes, from the environment: ``TUTELAGE_TORTURE``, the share of all repetitions, 1 by default;
``TUTELAGE_SOAK_MINUTES``, 30 by default; ``TUTELAGE_FUZZ``, the seconds for each reader, by default as many as let
all of them end within 50 minutes on two cores.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from tests.faults import rows

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / ".venv"
PAGE = ROOT / "docs" / "evidence" / "faults.md"
PARTS: dict[str, tuple[str, ...]] = {
    "kills": ("test_kills.py", "test_kills_of_commands.py", "test_generations.py"),
    "soak": ("test_soak.py", "test_processes.py"),
    "power": ("test_power_loss.py", "test_store_machine.py"),
    "fuzz": ("fuzz",),
    "rest": (),
}
"""The files and folders of tests/faults that each part runs; ``rest`` runs all other tests of faults, anywhere."""
SIZES = ("TUTELAGE_TORTURE", "TUTELAGE_SOAK_MINUTES", "TUTELAGE_FUZZ")
LONGEST = 3600
"""Seconds that a part may take."""
FUZZ_SECONDS = 2 * 50 * 60
"""For all readers together."""


class Refused(Exception):
    """Why there is no result, or no page."""


def git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout


def commit() -> str:
    """The commit of this checkout.

    Errors: :class:`Refused` where it has other files than its commit; the page itself may differ.
    """
    changed = git("status", "--porcelain", "--", ".", f":!{PAGE.relative_to(ROOT)}").splitlines()
    if changed:
        names = ", ".join(line[3:] for line in changed[:5]) + (", ..." if len(changed) > 5 else "")
        raise Refused(f"commit your changes first, as the page names the commit that it is about: {names}")
    return git("rev-parse", "HEAD").strip()[:12]


def words(part: str) -> list[str]:
    """The arguments of pytest for a part."""
    here = "tests/faults"
    if PARTS[part]:
        return [f"{here}/{name}" for name in PARTS[part]]
    return ["tests", *(f"--ignore={here}/{name}" for names in PARTS.values() for name in names)]


def sizes() -> dict[str, str]:
    """The sizes that the environment sets."""
    return {name: os.environ[name] for name in SIZES if os.environ.get(name)}


def processor() -> str:
    """The processor and the system, in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {system}"


def run(part: str) -> int:
    """Run a part and write what came of it; returns the exit code of pytest.

    Errors: :class:`Refused` if it did not run to its end, or files changed meanwhile.
    """
    begun, start = commit(), time.monotonic()
    RESULTS.mkdir(exist_ok=True)
    tests, path = RESULTS / f"tests-{part}.json", RESULTS / f"faults-{part}.json"
    for old in (tests, path):
        old.unlink(missing_ok=True)
    from tests.faults.fuzz.test_fuzz import TARGETS

    defaults = {"TUTELAGE_TORTURE": "1", "TUTELAGE_FUZZ": f"{FUZZ_SECONDS // len(TARGETS)}"}
    environment = {**os.environ, **defaults, **sizes(), "TUTELAGE_FAULTS": str(tests)}
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", "-m", "fault or torture"]
    code = subprocess.run([*command, *words(part)], cwd=ROOT, env=environment, check=False).returncode
    if code not in (0, 1):
        raise Refused(f"the part {part} did not run to its end: pytest ended with {code}")
    if commit() != begun:
        raise Refused("another commit was checked out meanwhile")
    result = {
        "part": part,
        "command": " ".join([*(f"{name}={value}" for name, value in sizes().items()), f"make torture PART={part}"]),
        "commit": begun,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": processor(),
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        "seconds": round(time.monotonic() - start),
        "tests": json.loads(tests.read_text()),
    }
    path.write_text(json.dumps(result, indent=1))
    if time.monotonic() - start > LONGEST:
        print(f"the part {part} took longer than an hour: make its sizes smaller, or divide it", file=sys.stderr)
    tests.unlink()
    return code


def results() -> list[dict[str, Any]]:
    """What came of each part that has run, in the order of the parts.

    Errors: :class:`Refused` for parts of different commits.
    """
    paths = [RESULTS / f"faults-{part}.json" for part in PARTS]
    parts = [json.loads(path.read_text()) for path in paths if path.exists()]
    if len({part["commit"] for part in parts}) > 1:
        commits = ", ".join(f"{part['part']} {part['commit']}" for part in parts)
        raise Refused(
            f"no page is written, as these parts are of different commits: {commits}. Run the older ones again"
        )
    return parts


def main(names: list[str]) -> int:
    """Run parts and write the page; returns the exit code."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise Refused(f"there is no part {', '.join(unknown)}: the parts are {', '.join(PARTS)}")
    codes = [run(part) for part in names or PARTS]
    PAGE.write_text(rows.page(results(), list(PARTS)))
    print(f"written: {PAGE}")
    return max(codes)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Refused as reason:
        sys.exit(f"make torture: {reason}")
