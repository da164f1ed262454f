from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tutelage import version


def git(root: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return subprocess.run(
        ["git", "-C", str(root), *identity, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_commit_of_a_checkout_and_whether_it_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "src" / "tutelage"
    package.mkdir(parents=True)
    (package / "code.py").write_text("one = 1\n")
    monkeypatch.setattr(version, "PACKAGE", package)
    fresh = version.source_version.__wrapped__
    assert set(fresh()) == {"version"}
    git(tmp_path, "init", "-q")
    assert set(fresh()) == {"version"}
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")[:12]
    assert fresh()["commit"] == commit
    (tmp_path / "notes.txt").write_text("no code")
    assert fresh()["commit"] == commit
    (package / "code.py").write_text("one = 2\n")
    assert fresh()["commit"] == f"{commit}+"
    monkeypatch.setenv("PATH", "")
    assert set(fresh()) == {"version"}


def test_a_package_inside_another_repository_is_not_that_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lib" / "tutelage"
    package.mkdir(parents=True)
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "first")
    monkeypatch.setattr(version, "PACKAGE", package)
    assert set(version.source_version.__wrapped__()) == {"version"}
