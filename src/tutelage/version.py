"""The version of the running code and, in a git checkout, its commit."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def installed_version() -> str:
    """The version of the installed package; ``unknown`` where tutelage is only on the path."""
    try:
        return version("tutelage")
    except PackageNotFoundError:
        return "unknown"


@lru_cache(maxsize=1)
def source_version() -> dict[str, str]:
    """The ``version`` of tutelage and, in a git checkout, its ``commit``, with ``+`` appended if there are changes.

    >>> sorted(source_version())[-1]
    'version'
    """
    result = {"version": installed_version()}
    root = PACKAGE.parents[1]
    if (root / ".git").exists() and (root / "src" / "tutelage") == PACKAGE:
        commit = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "src")
        if commit:
            result["commit"] = commit[:12] + ("+" if changes else "")
    return result


def _git(root: Path, *arguments: str) -> str:
    """The output of a git command, or an empty string if it fails."""
    try:
        process = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return process.stdout.strip() if process.returncode == 0 else ""
