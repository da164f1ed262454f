"""The command as a user meets it: what it says, what it refuses, and with which exit code."""

from __future__ import annotations

import json
import re
from dataclasses import make_dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Command, InProcess
from tutelage.cli.commands.explain import ExplainOptions
from tutelage.cli.options import TrainingOptions
from tutelage.cli.recipe_app import options_app, recipe_app, summary
from tutelage.recipes import CommonOptions, recipes

QUICK = ("--epochs", "2", "--threads", "1")


def test_explain_prints_the_objectives_and_the_expected_scores(tutelage: Command) -> None:
    done = tutelage("explain", "tolerant", "--primary", "0.6", "--teacher-weight", "0.6")
    assert done.returncode == 0, done.stderr
    assert "eta = 0.571429, k = 5" in done.stdout
    assert "0.428571 H(labels, student) + 0.571429 D_5(student)" in done.stdout
    assert "0.4 H(labels, student) + 0.6 KL(teacher ‖ student)" in done.stdout
    found = re.findall(r"expected score of the labelled class ([\d.]+)", done.stdout)
    assert found == ["0.6", "0.76", "0.856", "0.9136", "0.94816", "0.968896"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "tolerent"), "unknown recipe 'tolerent': did you mean tolerant?"),
        (("explain", "tolerent"), "unknown recipe 'tolerent': did you mean tolerant?"),
        (("run", "baseline", "--model", "resnet21"), "unknown model 'resnet21': did you mean resnet"),
        (("run", "baseline", "--data", "cifar101"), "unknown dataset 'cifar101': did you mean cifar10 or cifar100"),
        (("run", "tolerant", "--primry", "0.5"), "Unknown option: --primry. Did you mean --primary?"),
        (("run", "tolerant", "--primary", "1.5"), "1.5"),
        (("run", "tolerant", "--primary", "high"), 'unable to convert "high" into float'),
        (("run", "tolerant", "--teacher-weight", "0.6", "0.5"), "teacher_weight takes one number, or one"),
        (("run", "baseline", "--epochs", "0"), "epochs must be at least 1, not 0"),
        (("run", "baseline", "--seeds", "0", "0"), "seeds, each once"),
        (("run", "baseline", "--device", "gpu"), "device 'gpu'"),
        (("run", "baseline", "--threads", "0"), "threads must be at least 1"),
        (("run", "baseline", "--train-size", "5"), "5"),
        (("run", "baseline", "--model", "no.such.module:net"), "no module 'no.such.module'"),
        (("run", "baseline", "--model", "nowhere.py:net"), "no file 'nowhere.py'"),
        (("run", "baseline", "--data", "cifar100"), "tutelage data"),
        (("run", "--epochs", "5"), "needs a recipe before its options: baseline"),
        (("run", "baseline", "--processes", "0"), "processes must be at least 1"),
        (("list", "recepies"), "recepies"),
        (("show", "nothing"), "no run named 'nothing'"),
        (("frobnicate",), "frobnicate"),
        (("data", "import", "cifar11", "x.tar.gz"), "cifar10"),
        (("data", "import", "cifar10", "x.tar.gz"), "x.tar.gz"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    in_process: InProcess, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    code, out, error = in_process(*words)
    assert code == 2, error
    assert message in error
    assert len(error.splitlines()) == 1
    assert out == ""
    assert not (tmp_path / "runs").exists()


def test_a_mistake_leaves_the_process_with_2(tutelage: Command) -> None:
    done = tutelage("run", "tolerent")
    assert done.returncode == 2
    assert done.stderr == (
        "tutelage: unknown recipe 'tolerent': did you mean tolerant?; path/to/mine.py:function works too\n"
    )
    assert done.stdout == ""


def test_run_show_and_run_again(tutelage: Command, tmp_path: Path) -> None:
    words = ("run", "tolerant", "--generations", "1", "--seeds", "0", "1", *QUICK)
    first = tutelage(*words)
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("trained in") == 4
    assert "patriarch" in first.stdout
    assert "generation 1" in first.stdout
    assert re.search(r"\d+\.\d\d ± \d+\.\d\d", first.stdout)
    assert str(tmp_path / "runs" / "models") in first.stdout

    again = tutelage(*words)
    assert again.returncode == 0
    assert "trained in" not in again.stderr
    assert again.stderr.count("already trained") == 4
    assert again.stdout == first.stdout

    name = tutelage("list", "runs").stdout.split()[-1]
    assert tutelage("show", name).stdout == first.stdout
    assert "did you mean" in tutelage("show", name + "x").stderr


def test_a_shared_generation_is_trained_once(tutelage: Command) -> None:
    assert tutelage("run", "baseline", *QUICK).returncode == 0
    done = tutelage("run", "born_again", "--generations", "1", *QUICK)
    assert "seed 0, first: already trained" in done.stderr
    assert "seed 0, born again 1: trained in" in done.stderr


def test_a_recipe_and_a_network_of_ones_own(tutelage: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "from tutelage.methods.hinton import labels_only\n"
        "from tutelage.recipes import CommonOptions\n"
        "def net(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n"
        "def recipe(options: CommonOptions = CommonOptions(), *, wide: int = 3):\n"
        '    """Mine.\n\n    Args:\n        wide: How wide.\n    """\n'
        "    return options.lineage('mine', options.generation(f'wide {wide}', labels_only(), model='mine.py:net'))\n"
        "def seeded(options: CommonOptions = CommonOptions(), *, seeds: int = 3):\n"
        "    return options.lineage('mine', options.generation('only', labels_only()))\n"
    )
    done = tutelage("run", "mine.py:recipe", "--wide", "4", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "wide 4" in done.stdout
    assert "How wide." in tutelage("run", "mine.py:recipe", "--help").stdout
    assert tutelage("run", "baseline", "--model", "mine.py:net", *QUICK).returncode == 0
    twice = tutelage("run", "mine.py:seeded", *QUICK)
    assert twice.returncode == 2
    assert "tutelage run mine.py:seeded has two options --seeds: rename the recipe's argument" in twice.stderr


@pytest.mark.fault(32)
def test_a_network_of_the_wrong_size_is_refused_before_training(tutelage: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))\n"
    )
    done = tutelage("run", "distill", "--teacher", "mine.py:net", *QUICK)
    assert done.returncode == 2
    assert "gives scores of shape [2, 7] for 2 images; the data has 10 classes: expected [2, 10]" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.fault(21)
def test_a_loss_that_explodes_fails_that_seed_and_leaves_nothing_behind(tutelage: Command, tmp_path: Path) -> None:
    done = tutelage("run", "baseline", "--lr", "1e20", *QUICK)
    assert done.returncode == 1
    assert "seed 0 failed: the loss is" in done.stderr
    assert "this step was not taken" in done.stderr
    assert not list((tmp_path / "runs").rglob("weights.safetensors"))


def test_a_folder_of_images(tutelage: Command, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for label, name in enumerate(("cats", "dogs <b>")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 100, (16, 16, 3), dtype=np.uint8) + np.uint8(100 * label)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    done = tutelage("run", "baseline", "--data", "pets", "--model", "resnet8", *QUICK)
    assert done.returncode == 0, done.stderr
    (tmp_path / "pets" / "cats" / "notes.png").write_text("not an image")
    done = tutelage("run", "baseline", "--data", "pets", "--model", "resnet8", *QUICK)
    assert done.returncode == 2
    assert "notes.png" in done.stderr


@pytest.mark.fault(31)
def test_an_npz_with_a_label_out_of_range(tutelage: Command, tmp_path: Path) -> None:
    images, labels = np.zeros((6, 8, 8), dtype=np.uint8), np.array([0, 1, 0, 1, 0, -100])
    arrays = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels % 2}
    np.savez(tmp_path / "mine.npz", **arrays)
    done = tutelage("run", "baseline", "--data", "mine.npz", *QUICK)
    assert done.returncode == 2
    assert "-100" in done.stderr


def test_curves_and_shares_are_recorded_on_request(tutelage: Command, tmp_path: Path) -> None:
    words = ("run", "distill", "--holdout", "50", "--watch-test", "--meter", *QUICK)
    done = tutelage(*words)
    assert done.returncode == 0, done.stderr
    assert "(test set watched)" in done.stdout
    assert "holdout top-1" in done.stdout
    found = [json.loads(path.read_text().splitlines()[-1]) for path in tmp_path.rglob("metrics.jsonl")]
    student = next(line for line in found if "loss/teacher" in line)
    assert {"test/top1", "holdout/top1", "share/labels", "share/teacher"} <= set(student)
    assert student["share/labels"] + student["share/teacher"] == pytest.approx(1.0)


def test_explain_measures_shares_on_a_first_batch(tutelage: Command, tmp_path: Path) -> None:
    done = tutelage("explain", "distill", "--add", "attention_transfer:weight=1000", "--shares")
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"gradient on the first batch: labels [\d.]+ %, teacher [\d.]+ %, attention [\d.]+ %", done.stdout
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("words", [("run",), ("run", "--help"), ("explain",), ("explain", "-h")])
def test_a_recipe_is_chosen_from_a_list(in_process: InProcess, words: tuple[str, ...]) -> None:
    code, out, error = in_process(*words)
    assert (code, error) == (0, "")
    assert f"Usage: tutelage {words[0]} RECIPE [OPTIONS]" in out
    for name, recipe in recipes().items():
        assert re.search(rf"{name} +{re.escape(summary(recipe)[:20])}", out)
    assert all(option in out for option in ("--data", "--epochs", "--runs"))
    assert ("--seeds" in out) == (words[0] == "run")


def test_no_recipe_has_an_option_of_the_command() -> None:
    for name, recipe in recipes().items():
        recipe_app("run", name, recipe, TrainingOptions, lambda options, own: 0)
        recipe_app("explain", name, recipe, ExplainOptions, lambda options, own: 0)
    owners = [("Common options", CommonOptions), ("Others", make_dataclass("Others", [("epochs", int, 0)]))]
    with pytest.raises(ValueError, match="tutelage run baseline has two options --epochs"):
        options_app("tutelage run baseline", "", owners, print)


def test_help_says_what_there_is(tutelage: Command) -> None:
    top = tutelage("--help").stdout
    assert all(word in top for word in ("run", "explain", "list", "show", "data"))
    options = tutelage("run", "tolerant", "--help").stdout
    assert all(f"--{word}" in options for word in ("model", "data", "epochs", "primary", "k", "seeds", "threads"))
    assert "None" not in options
    everything = tutelage("list").stdout
    assert all(word in everything for word in ("tolerant", "distillation", "resnet20", "digits"))
