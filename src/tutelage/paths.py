"""The folders of runs and datasets."""

from __future__ import annotations

import os
from pathlib import Path


def runs_folder() -> Path:
    """The folder of trained models and studies: ``TUTELAGE_RUNS``, else ``runs`` in the working directory."""
    return Path(os.environ.get("TUTELAGE_RUNS") or "runs")


def data_folder() -> Path:
    """The folder of imported datasets: ``TUTELAGE_DATA``, else ``tutelage/data`` in the user's cache folder."""
    return Path(os.environ.get("TUTELAGE_DATA") or cache_folder() / "data")


def cache_folder() -> Path:
    """The folder of imported datasets and of what is cached: ``tutelage`` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tutelage"
