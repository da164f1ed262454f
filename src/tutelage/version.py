"""Which code this is: its version, and its commit where it runs from a checkout."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


@lru_cache(maxsize=1)
def code() -> dict[str, str]:
    """The ``version`` of tutelage and, from a git checkout, its ``commit``; ``+`` behind it says: with changes.

    >>> sorted(code())[-1]
    'version'
    """
    try:
        found = {"version": version("tutelage")}
    except PackageNotFoundError:  # not installed, only on the path
        found = {"version": "unknown"}
    root = PACKAGE.parents[1]
    if (root / ".git").exists() and (root / "src" / "tutelage") == PACKAGE:
        commit = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "src")
        if commit:
            found["commit"] = commit[:12] + ("+" if changes else "")
    return found


def _git(root: Path, *words: str) -> str:
    """What git says, or nothing where it cannot be asked."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
