"""``tutelage export`` and ``tutelage predict``, as a user meets them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Command
from tests.export.conftest import pair, train
from tests.export.test_hub import StandIn, hub
from tutelage.cli import command
from tutelage.data.load import load
from tutelage.study import Study

__all__ = ["hub"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(lineages=(pair(),), seeds=(0, 7))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, study: Study) -> Path:
    folder = tmp_path_factory.mktemp("take-away")
    train(study, folder / "runs")
    images = load(pair().data, folder).test.images
    for number in range(3):
        Image.fromarray(images[number, 0].numpy()).save(folder / f"{number}.png")
    return folder


@pytest.fixture(autouse=True)
def here(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the folder of the runs, on a machine whose data are elsewhere."""
    monkeypatch.chdir(trained)
    monkeypatch.setenv("TUTELAGE_RUNS", "runs")
    yield
    shutil.rmtree(trained / "exported", ignore_errors=True)


NAMES = ("weights.safetensors", "model.onnx", "model.pt2")


def percentages(output: str) -> dict[tuple[str, str], float]:
    """What ``tutelage predict`` printed: by image and class, in its order."""
    scores: dict[tuple[str, str], float] = {}
    image = ""
    for line in output.splitlines():
        if line.startswith(" "):
            score, name = line.split()
            scores[image, name] = float(score)
        else:
            image = line
    return scores


def test_export_then_predict_from_every_format(
    trained: Path, study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["export", study.name]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    (folder,) = (trained / "exported").iterdir()
    assert re.fullmatch(r"resnet8-[0-9a-f]{8}", folder.name)
    for name in NAMES:
        assert re.search(rf"{name}  [\d,]+ bytes   differs from the checkpoint by \d\.\de-\d\d at most", out)
    assert "compared on 64 test images" in out
    images = ("0.png", "1.png", "2.png")
    outputs = []
    for model in (study.name, str(folder), *(f"{folder}/{name}" for name in NAMES)):
        trust = ["--trust"] if model.endswith(".pt2") else []
        assert command(["predict", model, *images, "--top", "10", *trust]) == 0
        outputs.append(percentages(capsys.readouterr().out))
    first, *others = outputs
    assert len(first) == 30
    for other in others:  # formats differ in the last bits of a logit, and so may the second decimal
        assert other == pytest.approx(first, abs=0.011)
    for image in images:
        scores = [score for (name, _), score in first.items() if name == image]
        assert scores == sorted(scores, reverse=True)
    assert command(["predict", study.name, *images, "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == list(images)
    assert len(lines) == 12
    assert all(re.fullmatch(r"  [ \d]{3}\.\d\d  \d", line) for line in lines if line.startswith(" "))


def test_a_generation_a_seed_and_formats(trained: Path, study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--to", "out", "--format", "safetensors", "torch", "--license", "MIT"]
    assert command(["export", f"{study.name}:big one:7", *words]) == 0
    assert {path.name for path in (trained / "out").iterdir()} == {
        "weights.safetensors",
        "model.pt2",
        "model.json",
        "README.md",
    }
    assert (trained / "out" / "README.md").read_text().startswith("---\nlicense: mit\n")
    assert "model.onnx" not in capsys.readouterr().out
    shutil.rmtree(trained / "out")


def test_push(
    study: Study, hub: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)  # what HF_ENDPOINT sets when it is imported
    monkeypatch.setenv("HF_TOKEN", "hf_made_up_for_this_test")
    assert command(["export", study.name, "--format", "safetensors", "--push-to", "somebody/digits"]) == 0
    assert f"pushed to {hub.url}/somebody/digits" in capsys.readouterr().out
    assert set(hub.repositories["somebody/digits"]) == {"weights.safetensors", "model.json", "README.md"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("export",), "MODEL"),
        (("export", "nothing"), "unknown run or model 'nothing'"),
        (("export", "{name}:nobody"), "unknown generation of {name} 'nobody'"),
        (("export", "{name}", "--format", "tflite"), "tflite"),
        (("export", "{name}", "--license", "my own"), "a licence is an identifier"),
        (("export", "{name}", "--to", "runs"), "is not an exported model: choose another folder with --to"),
        (("export", "{name}", "--push-to", "digits"), "a repository is named OWNER/NAME, not 'digits'"),
        (("predict",), "MODEL"),
        (("predict", "{name}"), "tutelage predict needs images"),
        (("predict", "nothing", "0.png"), "unknown run or model 'nothing'"),
        (("predict", "nothing.onnx", "0.png"), "no file 'nothing.onnx'"),
        (("predict", "{name}", "3.png"), "3.png"),
        (("predict", "{name}", "0.png", "--top", "0"), "top must be at least 1, not 0"),
        (("predict", "0.png", "0.png"), "unknown run or model '0.png'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    study: Study, trained: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    before = sorted(path.name for path in trained.iterdir())
    code = command([word.format(name=study.name) for word in words])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert message.format(name=study.name) in err
    assert len(err.splitlines()) == 1
    assert sorted(path.name for path in trained.iterdir()) == before


def test_a_hub_that_refuses_is_one_line_and_exit_code_1(
    study: Study,
    hub: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub.refusal = 403
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", "hf_made_up_for_this_test")
    assert command(["export", study.name, "--format", "safetensors", "--push-to", "somebody/digits"]) == 1
    err = capsys.readouterr().err
    assert "somebody/digits was not pushed" in err
    assert "hf_made_up" not in err


def test_an_altered_file_is_one_line_and_exit_code_2(
    trained: Path, study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["export", study.name, "--format", "safetensors", "--to", "out"]) == 0
    weights = trained / "out" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    capsys.readouterr()
    assert command(["predict", "out", "0.png"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"tutelage: out/weights\.safetensors was altered: .*\n", err)
    shutil.rmtree(trained / "out")


@pytest.mark.fault(38)
def test_names_do_not_steer_the_terminal(
    study: Study, trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    import tutelage.export

    real = tutelage.export.load_model

    def hostile(words: str, runs: Path, *, trust: bool = False) -> tutelage.export.LoadedModel:
        loaded = real(words, runs, trust=trust)
        names = tuple(f"\x1b[2J{name}\n" for name in loaded.metadata.class_names)
        return dataclasses.replace(loaded, metadata=dataclasses.replace(loaded.metadata, class_names=names))

    monkeypatch.setattr(tutelage.export, "load_model", hostile)
    assert command(["predict", study.name, "0.png", "--top", "2"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 3


def test_the_command_itself(tutelage: Command, trained: Path, study: Study) -> None:
    done = tutelage("predict", study.name, str(trained / "0.png"), "--runs", str(trained / "runs"))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 6
    assert "--push-to" in tutelage("export", "--help").stdout
