"""Faults in one generation: earlier ones stay as they are, later ones wait, and the end result is the same."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import Many, Tried
from tests.faults.commands import LINE, finish, hashes, place, stamps, until
from tests.warm import Warm

CHAIN = tuple(
    "2" if word == "1" and before == "--generations" else word
    for before, word in zip(("", *LINE), LINE, strict=False)
)


@pytest.fixture(scope="session")  # a folder of the server's, which lives as long
def chain(warm: Warm, finished: Path) -> Path:
    """Three generations, the first two of which are those of LINE."""
    runs = warm.folder / "chain"
    shutil.copytree(finished / "models", runs / "models")
    finish(warm, CHAIN, runs)
    assert len(hashes(runs)) == 3
    return runs


@pytest.fixture
def copied(chain: Path, tmp_path: Path) -> tuple[Path, list[Path]]:
    """A copy of the chain that a test may change, and its models in order."""
    runs = tmp_path / "copied"
    shutil.copytree(chain / "models", runs / "models")
    return runs, sorted((runs / "models").iterdir(), key=place)


@pytest.mark.fault(36)
@pytest.mark.timeout(1200)
def test_killed_between_two_generations(warm: Warm, tmp_path: Path, many: Many, tried: Tried) -> None:
    """Killed within milliseconds of the end of the first generation, which is not trained again.

    If this test is late, the second generation waits for it, in its sixth step of twelve.
    """
    words = (*LINE, "--model", "tests.faults.networks:Freezing")
    finish(warm, words, tmp_path / "undisturbed")
    expected = hashes(tmp_path / "undisturbed")
    draw, killed, between = random.Random(36), 0, 0
    while killed < many(1, 60):
        runs = tmp_path / f"{killed}"
        pid = warm.start(words, runs, FREEZE="1@6")
        until(lambda runs=runs: list(runs.glob("models/*/manifest.json")))
        time.sleep(draw.choice((0.0, 0.002, 0.01, 0.05)))
        os.kill(pid, signal.SIGKILL)
        assert warm.wait(pid) == -signal.SIGKILL
        (model,) = [path.parent for path in runs.glob("models/*/manifest.json")]
        assert place(model) == 0
        before, killed = stamps(model), killed + 1
        between += len(list((runs / "models").iterdir())) == 1
        assert "patriarch: already trained" in finish(warm, words, runs)
        assert stamps(model) == before
        assert hashes(runs) == expected
    tried(killed, f"kills as the first generation was finished, {between} before the second one had a folder")


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("deleted", "trained"),
    [((1,), "1"), ((1, 2), "12"), ((0, 2), "02")],
    ids=["in the middle", "in the middle and behind", "first and last"],
)
def test_a_folder_is_deleted(
    deleted: tuple[int, ...], trained: str, warm: Warm, chain: Path, copied: tuple[Path, list[Path]]
) -> None:
    """It is trained again, from the same teacher to the same bits; the others are not."""
    runs, models = copied
    remaining = {model: stamps(model) for number, model in enumerate(models) if number not in deleted}
    for number in deleted:
        shutil.rmtree(models[number])
    output = finish(warm, CHAIN, runs)
    names = ("patriarch", "generation 1", "generation 2")
    for number, name in enumerate(names):
        assert f"{name}: {'trained in' if str(number) in trained else 'already trained'}" in output
    assert {model: stamps(model) for model in remaining} == remaining
    assert hashes(runs) == hashes(chain)


@pytest.mark.fault(36)
@pytest.mark.parametrize("what", ["a bit of its weights", "its weights", "its manifest"])
def test_a_teacher_is_damaged(what: str, warm: Warm, chain: Path, copied: tuple[Path, list[Path]]) -> None:
    """The run stops with a remedy; no student learns from it. Without its manifest a model was never finished."""
    runs, (first, teacher, student) = copied
    shutil.rmtree(student)
    first_stamps = stamps(first)
    match what:
        case "a bit of its weights":
            path = teacher / "weights.safetensors"
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 16
            path.write_bytes(content)
        case "its weights":
            (teacher / "weights.safetensors").unlink()
        case "its manifest":
            (teacher / "manifest.json").unlink()
    if what != "its manifest":
        pid = warm.start(CHAIN, runs)
        code, output = warm.wait(pid), warm.output(pid)
        assert code == 1, output
        assert "Traceback" not in output
        assert "patriarch: already trained" in output
        assert f"seed 0 failed: {teacher / 'weights.safetensors'} " in output
        assert f"Delete {teacher} to train this model again" in output
        assert not student.exists()
        shutil.rmtree(teacher)
    finish(warm, CHAIN, runs)
    assert stamps(first) == first_stamps
    assert hashes(runs) == hashes(chain)
