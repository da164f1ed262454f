"""Every reader of foreign bytes, fuzzed for a while: targets.py has the readers, __main__.py what counts as found.

How long each is fuzzed, in seconds, says TUTELAGE_FUZZ; else 8, 12 where CI is set (two minutes of one core for all),
and 600 in ``make torture``. The random seed is the same each time but for ``make torture``.
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

from tests.conftest import Tried

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
}
TORTURE = bool(os.environ.get("TUTELAGE_TORTURE"))
SECONDS = int(os.environ.get("TUTELAGE_FUZZ") or (600 if TORTURE else 12 if os.environ.get("CI") else 8))

pytestmark = [
    pytest.mark.timeout(SECONDS + 150),
    pytest.mark.skipif(
        importlib.util.find_spec("atheris") is None,
        reason="atheris has wheels for Linux on x86-64 and Python 3.11 to 3.13 alone",
    ),
]


@pytest.mark.parametrize(
    "target", [pytest.param(name, marks=pytest.mark.fault(*rows), id=name) for name, rows in TARGETS.items()]
)
def test_a_reader_of_any_bytes_reads_them_or_raises_value_error(target: str, tmp_path: Path, tried: Tried) -> None:
    seed = time.time_ns() % 2**31 if TORTURE else 1
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.fuzz", target, str(SECONDS), str(seed), str(tmp_path)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=Path(__file__).parents[3],
    )
    inputs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    kept = [path.read_bytes() for path in tmp_path.iterdir() if path.is_file()]
    assert done.returncode == 0, f"seed {seed}: {kept}\n{done.stderr[-4000:]}"
    assert inputs is not None
    assert int(inputs[1]) > 20
    tried(int(inputs[1]), f"inputs in {SECONDS} s, each read or refused with ValueError, within 10 s and 1 GiB")
