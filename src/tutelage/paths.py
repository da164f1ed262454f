"""The folders of runs and data."""

from __future__ import annotations

import os
from pathlib import Path


def runs_folder() -> Path:
    """Where trained models and studies lie: ``TUTELAGE_RUNS``, else ``runs`` in the working folder."""
    return Path(os.environ.get("TUTELAGE_RUNS") or "runs")


def data_folder() -> Path:
    """Where imported datasets lie: ``TUTELAGE_DATA``, else ``tutelage/data`` in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("TUTELAGE_DATA") or cache / "tutelage" / "data")
