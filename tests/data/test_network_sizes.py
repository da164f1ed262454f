"""Networks with a size of their own are shown image files at that size, not small images blown up."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tutelage.analysis.explanation import explain
from tutelage.data.load import dataset_info, load
from tutelage.engine import Engine
from tutelage.lineage.networks import LineageNetworks, shown_side
from tutelage.recipes import call
from tutelage.study import Execution, Study
from tutelage.study import run as run_study

VIT = {
    "model_type": "vit",
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "patch_size": 20,
}
pytestmark = [
    pytest.mark.usefixtures("data_folder"),
    pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed (extra hf)"),
]


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_DATA", str(tmp_path / "data"))


@pytest.fixture
def photographs(tmp_path: Path) -> str:
    """Stripes of one pixel: nothing of them is left in an image that was made smaller and blown up again."""
    stripes = np.zeros((120, 120, 3), np.uint8)
    stripes[:, ::2] = 255
    for row in range(20):
        path = tmp_path / "set" / "ab"[row % 2] / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(stripes if row % 2 else stripes.transpose(1, 0, 2)).save(path)
    return str(tmp_path / "set")


def vit(folder: Path, size: int) -> str:
    path = folder / f"vit{size}.json"
    path.write_text(json.dumps({**VIT, "image_size": size}))
    return f"hf:{path}"


@pytest.mark.parametrize(
    ("teacher", "student", "image_size", "side", "shown"),
    [
        (80, None, None, 80, (80, 64)),
        (100, None, None, 100, (100, 64)),
        (60, None, None, 64, (60, None)),
        (80, None, 40, 40, (80, None)),
        (80, 100, None, 100, (80, 100)),
        (None, None, None, 64, (None, None)),
    ],
)
def test_the_largest_size_decides_and_each_network_has_its_own(
    teacher: int | None,
    student: int | None,
    image_size: int | None,
    side: int,
    shown: tuple[int | None, int | None],
    photographs: str,
    tmp_path: Path,
) -> None:
    networks = [vit(tmp_path, size) if size else "resnet8" for size in (teacher, student)]
    lineage = call(
        "distill", data=photographs, teacher=(networks[0],), model=networks[1], image_size=image_size, epochs=1
    )
    info = dataset_info(lineage.data, tmp_path / "data")
    assert (info.height, info.width) == (side, side)
    assert tuple(shown_side(lineage, place, info) for place in range(2)) == shown
    explanation = explain(lineage, info)
    assert tuple(generation.side for generation in explanation.generations) == shown
    splits = load(lineage.data, tmp_path / "data")
    networks_of = LineageNetworks(lineage, (), 0, splits, Engine.choose("cpu"))
    for place, expected in enumerate(shown):
        images = networks_of.normalization(place).apply(splits.test.images[:1])
        assert images.shape[2:] == (expected or side, expected or side)


def test_what_a_larger_network_sees_was_never_small(photographs: str, tmp_path: Path) -> None:
    beside = call("distill", data=photographs, teacher=(vit(tmp_path, 100),), model="resnet8")
    image = load(beside.data, tmp_path / "data").test.images[:1].float()
    assert image.std() > 30  # stripes of a pixel, at 114 of 120 pixels
    alone = load(call("baseline", data=photographs, model="resnet8").data, tmp_path / "data").test.images[:1]
    blown_up = torch.nn.functional.interpolate(alone.float(), (100, 100), mode="bilinear")
    assert blown_up.std() < image.std() / 3


def test_both_train(photographs: str, tmp_path: Path) -> None:
    lineage = call("distill", data=photographs, teacher=(vit(tmp_path, 80),), model="resnet8", epochs=1, batch_size=8)
    list(run_study(Study(lineages=(lineage,)), runs=tmp_path / "runs", execution=Execution(device="cpu")))
    assert len(list(tmp_path.glob("runs/models/*/weights.safetensors"))) == 2
