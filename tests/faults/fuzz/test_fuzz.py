"""Fuzz every reader of foreign bytes: targets.py defines the readers, __main__.py what counts as a failure.

TUTELAGE_FUZZ sets the seconds for each; the default is 8, and 600 in ``make torture``. If CI is set it is 12, or 30
for the newest targets: three minutes of one core for all. The random seed is fixed, except in ``make torture``.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Tried, limit

TARGETS = {
    "archive": (24, 26, 27),
    "pickles": (28,),
    "npz": (27, 28),
    "safetensors": (29,),
    "state_dicts": (28, 29),
    "json_values": (30,),
    "toml": (30,),
    "stored": (28, 29, 30),
    "blocks": (29,),
    "images": (27,),
    "tensors": (29,),
    "records": (30,),
}
TORTURE = bool(os.environ.get("TUTELAGE_TORTURE"))
NEW = ("tensors", "records")
"""The targets that are younger than the last page of evidence."""


def seconds_of(target: str) -> int:
    """How long to fuzz a target."""
    if requested := os.environ.get("TUTELAGE_FUZZ"):
        return int(requested)
    if TORTURE:
        return 600
    return (30 if target in NEW else 12) if os.environ.get("CI") else 8


pytestmark = [
    pytest.mark.timeout(max(map(seconds_of, TARGETS)) + 150),
    pytest.mark.skipif(
        importlib.util.find_spec("atheris") is None,
        reason="atheris has wheels for Linux on x86-64 and Python 3.11 to 3.13 alone",
    ),
]


@pytest.mark.parametrize(
    "target", [pytest.param(name, marks=pytest.mark.fault(*rows), id=name) for name, rows in TARGETS.items()]
)
def test_a_reader_accepts_any_bytes_or_raises_value_error(target: str, tmp_path: Path, tried: Tried) -> None:
    seconds, seed = seconds_of(target), time.time_ns() % 2**31 if TORTURE else 1
    count = 0
    while count <= 20:  # once, unless the machine is very slow
        words = [target, str(seconds), str(seed + count), str(tmp_path), f"{limit(120):.0f}"]
        completed = subprocess.run(
            [sys.executable, "-m", "tests.faults.fuzz", *words],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd=Path(__file__).parents[3],
        )
        inputs = re.search(r"number_of_executed_units: (\d+)", completed.stderr)
        inputs_left = [path.read_bytes() for path in tmp_path.iterdir() if path.is_file()]
        assert completed.returncode == 0, f"seed {seed + count}: {inputs_left}\n{completed.stderr[-4000:]}"
        assert inputs is not None
        count += int(inputs[1])
    tried(count, f"inputs in {seconds} s, each read or refused with ValueError, within 10 s and 1 GiB")
