"""The README does what it says: every command and every block of Python in it is run here.

Commands that would train for hours are run with ``--epochs 1`` on few images; nothing else is changed.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import limit
from tests.warm import Warm

Run = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]
TUTELAGE = [line for line in COMMANDS if line.startswith("tutelage ")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the README names."""
    folder = tmp_path_factory.mktemp("readme")
    here = folder / "path" / "to"
    generator = np.random.default_rng(0)
    for label, name in enumerate(("cats", "dogs")):
        (here / "photos" / name).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 100, (32, 32, 3), dtype=np.uint8) + np.uint8(100 * label)
            Image.fromarray(pixels).save(here / "photos" / name / f"{number}.png")
    labels = np.arange(20) % 2
    images = generator.integers(0, 255, (20, 32, 32, 3), dtype=np.uint8)
    arrays = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    np.savez(here / "images.npz", **arrays)
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(here / "digit.png")
    (here / "mine.py").write_text(
        "from torch import nn\n\n"
        "def network(num_classes, in_channels):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64 * in_channels, num_classes))\n"
    )
    return folder


def environment(place: Path) -> dict[str, str]:
    return {**os.environ, "TUTELAGE_RUNS": str(place / "runs"), "TUTELAGE_DATA": str(place / "data")}


@pytest.fixture
def run(place: Path, warm: Warm) -> Run:
    def tutelage(*words: str) -> subprocess.CompletedProcess[str]:
        assert words[0] == "tutelage"
        return warm.complete(words[1:], environment(place), place)

    return tutelage


def test_make_knows_its_targets() -> None:
    targets = [line.split()[1] for line in COMMANDS if line.startswith("make ")]
    assert targets == ["demo", "test"]
    for target in targets:
        words = ["make", "--dry-run", target]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_every_command_is_of_a_known_kind() -> None:
    kinds = ("make ", "tutelage ", ". .venv/bin/activate")
    assert [line for line in COMMANDS if not line.startswith(kinds)] == []


def test_the_demo_is_what_make_demo_runs() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for name in re.findall(r"^(\w+)-digits-resnet8-[0-9a-f]{8}:", README, re.MULTILINE):
        assert f"tutelage run {name} --seeds 0 1" in makefile


TESTED_BELOW = tuple(f"tutelage {verb} " for verb in ("data get", "export", "predict", "diagnose", "transfer"))


@pytest.mark.parametrize("command", [line for line in TUTELAGE if not line.startswith(TESTED_BELOW)])
def test_command(command: str, run: Run, place: Path, request: pytest.FixtureRequest) -> None:
    words = shlex.split(command)
    if "cifar100" in words and words[1] == "run":
        (place / "data").mkdir(exist_ok=True)
        if not (place / "data" / "cifar100").exists():
            (place / "data" / "cifar100").symlink_to(request.getfixturevalue("cifar") / "cifar100")
    if words[1] in ("run", "study") and "--help" not in words:
        words = [*without(words, "--train-size", "--epochs", "--generations"), "--epochs", "1"]
        if "cifar100" in words:
            words += ["--train-size", "100", "--test-size", "100"]
        if words[2] == "tolerant":
            words += ["--generations", "1"]
    if words[1] == "report" and not (place / "runs" / "studies").exists():  # no run was made before, in this order
        assert run("tutelage", "run", "baseline", "--epochs", "1").returncode == 0
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def without(words: list[str], *options: str) -> list[str]:
    """Leave out options with the one word that follows each."""
    dropped = {
        place for option in options if option in words for place in (words.index(option), words.index(option) + 1)
    }
    return [word for place, word in enumerate(words) if place not in dropped]


def test_a_model_is_looked_at_taken_away_and_used(run: Run, place: Path) -> None:
    (export,) = (line for line in TUTELAGE if line.startswith("tutelage export "))
    (predict,) = (line for line in TUTELAGE if line.startswith("tutelage predict "))
    assert run("tutelage", "run", "label_smoothing", "--epochs", "1").returncode == 0
    name = next(path.name for path in (place / "runs" / "studies").glob("label_smoothing-*"))
    closer = [line for line in TUTELAGE if line.startswith(("tutelage diagnose ", "tutelage transfer "))]
    assert len(closer) == 2
    for command in (*(line.replace("RUN", name) for line in (export, *closer)), predict):
        done = run(*shlex.split(command))
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_the_python_runs(place: Path) -> None:
    code = "\n".join(blocks("python"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        check=False,
        timeout=limit(150),
    )
    assert done.returncode == 0, done.stderr
    assert "gradient on the first batch: labels" in done.stdout
    assert "generation 1 [" in done.stdout
    assert "path/to/digit.png (('" in done.stdout
    assert len(list((place / "runs" / "reports").glob("tolerant-*"))) >= 3
    assert "0.4 H(labels, student) + 0.6 KL(teacher ‖ student)" in done.stdout


def test_data_get_says_how_to_go_on_without_a_network(run: Run) -> None:
    done = run("tutelage", "data", "get", "cifar11")
    assert done.returncode == 2
    assert "cifar10" in done.stderr
