"""Experiments on the command line: by name, at a scale, with the printed numbers beside the measured ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import Command, InProcess
from tutelage import experiments
from tutelage.experiments import catalog
from tutelage.experiments.spec import Experiment, Link, Unavailable, experiment_study, remarks
from tutelage.published import cells
from tutelage.recipes.baselines import baseline
from tutelage.recipes.common_options import CommonOptions
from tutelage.recipes.tolerant import tolerant
from tutelage.study import load_study, studies

NAME = "made-up/table-1/digits"


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """An experiment on digits, which need no archive, beside a printed number."""
    options = CommonOptions(epochs=20)
    lineages = (baseline(options), replace(tolerant(options, generations=2), name="chain"))
    printed = {one.column: one for one in cells("1805.05551", "1", row="DenseNet-100, D(0.6, 0.6)")}
    experiment = Experiment(
        name=NAME,
        description="digits: plain and tolerant",
        study=experiment_study(NAME, lineages, reference="baseline"),
        links=tuple(Link(arm="chain", place=place, cell=printed[f"gen {place}"]) for place in (0, 1, 2)),
        unknowns=remarks("nothing at all; here digits"),
        unavailable_arms=(Unavailable(name="KD", reason="it has no arm of that name"),),
    )
    monkeypatch.setattr(catalog, "_entries", lambda: {NAME: experiment})
    return experiment


def test_a_reduced_experiment_is_trained_shown_and_written(
    in_process: InProcess, tmp_path: Path, made_up: Experiment
) -> None:
    words = ("study", NAME, "--scale", "0.1", "--until", "1", "--threads", "1", "--precision", "fp32")
    code, out, error = in_process(*words, "--markdown", "a.md")
    assert code == 0, error
    assert error.startswith(
        f"{NAME}: chain: 2 generations instead of 3, 30 training images instead of 300, "
        "150 test images instead of 1,497, 16 epochs instead of 20\n"
    )
    assert error.count("trained in") == 3
    assert f"Published beside measured: {NAME}, arXiv 1805.05551, top-1 error %" in out
    assert out.index("compared to baseline") < out.index("Published beside measured")
    assert (
        "Protocol (1): 30 training images instead of 300; 150 test images instead of 1,497; 16 epochs instead" in out
    )
    assert "bf16" not in out.partition("Published beside measured")[2]
    page = (tmp_path / "a.md").read_text()
    assert "| chain | generation 1 | Table 1: DenseNet-100, D(0.6, 0.6), gen 1 | 21.29 | paper |" in page
    assert page.index("## Models") < page.index("## Published beside measured")

    (name,) = studies(tmp_path / "runs")
    assert name.startswith("made-up-table-1-digits-")
    assert load_study(name, tmp_path / "runs").experiment == NAME
    code, shown, _ = in_process("show", name)
    assert code == 0
    assert shown.partition("Published")[2] == out.partition("Published")[2].replace("written: a.md\n", "")

    code, out, error = in_process(*words, "--arm", "chain", "--seeds", "0", "1", "--name", "mine")
    assert code == 0, error
    assert "1 arm instead of 2, 2 generations instead of 3" in error
    assert error.count("already trained") == 2  # those of seed 0, of the run before
    assert len(studies(tmp_path / "runs")) == 2


def test_the_name_is_no_part_of_a_study(in_process: InProcess, tmp_path: Path, made_up: Experiment) -> None:
    words = ("study", NAME, "--scale", "0.05", "--until", "0", "--arm", "chain", "--threads", "1")
    assert in_process(*words)[0] == 0
    (name,) = studies(tmp_path / "runs")
    written = load_study(name, tmp_path / "runs")
    assert replace(written, experiment="").study.name == name == written.study.name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("tolerent/table-1/densenet-100",),
            "unknown experiment 'tolerent/table-1/densenet-100': did you mean tolerant/",
        ),
        (("nowhere",), "unknown experiment 'nowhere': choose from born-again/..., crd/"),
        (("nowhere",), "a study's file ends in .toml"),
        (
            ("tolerant/table-1",),
            "'tolerant/table-1' is incomplete: choose from tolerant/table-1/densenet-100",
        ),
        (
            ("tolerant/table-2/resnet18",),
            "it needs the images of ILSVRC2012; experiments use digits, cifar10 and cifar100",
        ),
        (("born-again/table-6/lstm",), "it needs a language model"),
        (("tolerant/table-1/densenet-100", "--scale", "0"), "scale must be in (0, 1], not 0"),
        (("tolerant/table-1/densenet-100", "--scale", "10%"), "--scale"),
        (("tolerant/table-1/densenet-100", "--until", "-1"), "until must be the number of a generation"),
        (("tolerant/table-1/densenet-100", "--arm", "D(0.6,0.6)"), "did you mean D(0.6, 0.6)"),
        (
            ("tolerant/table-1/densenet-100", "--epochs", "3"),
            "--epochs cannot stand beside tolerant/table-1/densenet-100",
        ),
        (
            ("tolerant/table-1/densenet-100", "--reference", "base"),
            "unknown reference 'base': did you mean baseline?",
        ),
        (("tolerant/table-1/densenet-100",), "cifar100 is not in"),
        (("--scale", "0.1", "--arm", "baseline"), "--scale is for an experiment: tutelage list experiments"),
        (("nowhere.toml", "--until", "1"), "--until is for an experiment: tutelage list experiments"),
        ((), "a file, or an experiment"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    in_process: InProcess, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    code, out, error = in_process("study", *words)
    assert code == 2, error
    assert message in error
    assert len(error.splitlines()) == 1
    assert out == ""
    assert not (tmp_path / "runs").exists()


def test_experiments_are_listed_with_those_that_cannot_be_run(tutelage: Command) -> None:
    done = tutelage("list", "experiments")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "experiments:"
    named = [line.split()[0] for line in lines[1:] if not line.startswith("  not available: ")]
    assert named == list(experiments.experiments())
    missing = [line for line in lines if line.startswith("  not available: ")]
    assert any("tf-kd/table-3/resnet18_mobilenetv2 resnet18_shufflenetv2" in line for line in missing)
    count = sum(len(line.partition(": it needs")[0].split()) - 2 for line in missing)
    assert count == len(experiments.unavailable_experiments())


@pytest.mark.cifar
def test_a_reduced_experiment_on_the_real_images(tutelage: Command, cifar: Path) -> None:
    words = ("crd/same-type/resnet56_resnet20", "--scale", "0.002", "--arm", "student", "--threads", "1")
    done = tutelage("study", *words, TUTELAGE_DATA=str(cifar))
    assert done.returncode == 0, done.stderr
    assert "1 arm instead of 13, " in done.stderr
    assert "100 training images instead of 50,000" in done.stderr
    assert "69.06" in done.stdout
