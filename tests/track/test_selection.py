"""Which trackers a request means, and what it is told where one cannot be had."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tutelage.track import TRACKERS, chosen


def test_what_is_installed_decides_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert chosen(None) == ()
    installed = importlib.util.spec_from_loader("tensorboard", loader=None, origin="here")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: installed)
    assert chosen(None) == ("tensorboard",)
    assert chosen(["none"]) == chosen(["none", "none"]) == ()
    assert chosen(["wandb", "mlflow", "wandb"]) == ("wandb", "mlflow")


@pytest.mark.parametrize("name", TRACKERS)
def test_one_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    message = f"tracker {name} is not installed: pip install 'tutelage[{TRACKERS[name]}]'"
    with pytest.raises(ValueError, match=re.escape(message)):
        chosen([name])


def test_a_folder_of_that_name_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRACKERS, "some_tracker", "some")
    (tmp_path / "some_tracker").mkdir()  # as trackers leave them where they ran
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="not installed"):
        chosen(["some_tracker"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["tensorbord"], "unknown tracker 'tensorbord': did you mean tensorboard?"),
        (["comet"], "unknown tracker 'comet'"),
        (["none", "tensorboard"], "tracker none stands alone, not beside tensorboard"),
    ],
)
def test_mistakes(names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        chosen(names)
