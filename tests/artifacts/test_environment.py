"""The environment of a training run, and its peak memory."""

from __future__ import annotations

import subprocess
import sys

CHILD = "from tutelage.artifacts.environment import peak_memory; print(peak_memory())"
PARENT = f"""
import subprocess, sys
held = bytearray(1024 * 2**20)
for page in range(0, len(held), 4096):
    held[page] = 1
subprocess.run([sys.executable, "-c", {CHILD!r}], check=True)
"""


def test_the_peak_is_that_of_this_process_not_of_its_parent() -> None:
    output = subprocess.run([sys.executable, "-c", PARENT], capture_output=True, text=True, check=True).stdout
    assert 50 < int(output) < 1000
