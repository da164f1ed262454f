"""Which trackers a request selects, and the message where one is not installed."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tutelage.track import TRACKERS, select_trackers


def test_what_is_installed_decides_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert select_trackers(None) == ()
    installed = importlib.util.spec_from_loader("tensorboard", loader=None, origin="here")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: installed)
    assert select_trackers(None) == ("tensorboard",)
    assert select_trackers(["none"]) == select_trackers(["none", "none"]) == ()
    assert select_trackers(["wandb", "mlflow", "wandb"]) == ("wandb", "mlflow")


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = f"tracker {name} is not installed: pip install 'tutelage[{TRACKERS[name]}]'"
    with pytest.raises(ValueError, match=re.escape(message)):
        select_trackers([name])


def test_a_folder_of_that_name_is_not_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRACKERS, "some_tracker", "some")
    (tmp_path / "some_tracker").mkdir()  # as trackers leave them in the working folder
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="not installed"):
        select_trackers(["some_tracker"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["tensorbord"], "unknown tracker 'tensorbord': did you mean tensorboard?"),
        (["comet"], "unknown tracker 'comet'"),
        (["none", "tensorboard"], "tracker none cannot be combined with tensorboard"),
    ],
)
def test_mistakes(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        select_trackers(names)
