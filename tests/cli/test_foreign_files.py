"""Pipes and devices where commands expect files, and studies of absurd size: one line, at once."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.cli.conftest import InProcess
from tests.conftest import limit
from tests.test_regular import study
from tutelage import storage

pytestmark = pytest.mark.timeout(limit(20))


@pytest.mark.fault(29)
def test_commands_end_with_one_line(in_process: InProcess, tmp_path: Path) -> None:
    """A picture, weights and a study's reasons as pipes; each command ends with the code of a user's mistake."""
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.pth")
    name = study(tmp_path / "runs")
    reasons = tmp_path / "runs" / "studies" / name / "failures.json"
    reasons.unlink()
    os.mkfifo(reasons)
    requests = {
        ("run", "distill", "--teacher-weights", "pipe.pth"): "no weights at pipe.pth: pipe.pth is a pipe, not a file",
        ("run", "distill", "--teacher-weights", "none.pth"): "no weights at none.pth: neither a folder nor a file",
        ("run", "distill", "--teacher-weights", "pipe.pt"): "did you mean pipe.pth",
        ("run", "distill", "--teacher-weights", "runs"): "runs is not a finished model of tutelage",
        ("run", "distill", "--teacher-weights", "/dev/zero"): "/dev/zero is a device, not a file",
        ("show", name): "failures.json is a pipe, not a file",
    }
    for words, message in requests.items():
        code, out, err = in_process(*words)
        assert (code, out) == (2, ""), (words, out, err)
        assert message in err, (words, err)
        assert "Errno" not in err
        assert len(err.strip().splitlines()) == 1


@pytest.mark.fault(29)
def test_a_study_of_200_000_seeds(in_process: InProcess, tmp_path: Path) -> None:
    """Refused as it is read: showing it would take a part of a millisecond for each."""
    name = study(tmp_path / "runs")
    folder = tmp_path / "runs" / "studies" / name
    values = json.loads((folder / "study.json").read_bytes())
    values["study"]["seeds"] = list(range(200_000))
    storage.commit(folder, {"study.json": json.dumps(values).encode()})
    before = time.process_time()
    for words in (("show", name), ("report", name)):
        code, _, err = in_process(*words)
        assert code == 2
        assert (
            "study.json: $.study: 1 generations with 200000 seeds are 200000 models: a study has at most 20000" in err
        )
    (tmp_path / "s.toml").write_text(f'arms = ["baseline", "born_again"]\nseeds = {list(range(9000))}')
    code, _, err = in_process("study", "s.toml")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "a study has at most 20000; divide it into several" in err
    assert time.process_time() - before < 15
