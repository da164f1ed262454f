"""Networks of timm and transformers, used like tutelage's own."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tutelage.data.normalization import Normalization
from tutelage.models.build import build, check, constructor, source
from tutelage.models.external import Expectation, build_external, expectation
from tutelage.models.feature_hooks import FeatureHooks, candidates

SMALL_RESNET = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "layer_type": "basic",
}
SMALL_VIT = {
    "model_type": "vit",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 16,
    "patch_size": 8,
}
SMALL_CONVNEXT = {"model_type": "convnext", "hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}
SMALL = {"resnet": SMALL_RESNET, "vit": SMALL_VIT, "convnext": SMALL_CONVNEXT}

needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="transformers is not installed (extra hf)"
)


def works(package: str) -> bool:
    """Whether it can be imported, determined in another process: what is half imported would stay in this one."""
    if importlib.util.find_spec(package) is None:
        return False
    return (
        subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True, check=False).returncode == 0
    )


def architecture(tmp_path: Path, kind: str, **changes: Any) -> str:
    file = tmp_path / f"{kind}.json"
    file.write_text(json.dumps(SMALL[kind] | changes))
    return f"hf:{file}"


def folder(tmp_path: Path, kind: str = "resnet", num_labels: int = 4, **changes: Any) -> Path:
    """A trained model as transformers stores it."""
    labels = {str(i): f"LABEL_{i}" for i in range(num_labels)}
    place = tmp_path / f"{kind}-trained"
    place.mkdir()
    (place / "config.json").write_text(json.dumps(SMALL[kind] | {"id2label": labels, "num_channels": 1} | changes))
    from safetensors.torch import save_file

    network = build(f"hf:{place / 'config.json'}", num_labels, 1, seed=7)
    save_file(network.state_dict(), place / "model.safetensors", metadata={"format": "pt"})
    return place


def images(size: int = 16, channels: int = 1) -> Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))


# ---------------------------------------------------------------- transformers


@needs_transformers
@pytest.mark.parametrize("kind", SMALL)
def test_an_architecture_of_transformers_answers_pixels_with_logits(kind: str, tmp_path: Path) -> None:
    name = architecture(tmp_path, kind)
    network = build(name, num_classes=5, in_channels=1, seed=3)
    check(network, name, 5, (1, 16, 16))
    x = images()
    assert network.training
    nn.functional.cross_entropy(network(x), torch.tensor([0, 1])).backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
    # The same seed gives the same network, another one another; a copy is one, and neither code nor names change.
    network, same = build(name, 5, 1, seed=3).eval(), build(name, 5, 1, seed=3).eval()
    other = build(name, 5, 1, seed=4).eval()
    logits = network(x)
    assert logits.dtype == torch.float32
    assert torch.equal(same(x), logits)
    assert not torch.equal(other(x), logits)
    assert torch.equal(copy.deepcopy(network)(x), logits)
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(x), logits)
    from transformers import AutoConfig, AutoModelForImageClassification

    config = AutoConfig.from_pretrained(name.removeprefix("hf:"), num_labels=5)
    config.num_channels = 1
    make: Any = AutoModelForImageClassification.from_config
    theirs = make(config).eval()
    theirs.load_state_dict(network.state_dict())
    assert torch.equal(theirs(x).logits, logits)
    assert type(theirs) is not type(network)


@needs_transformers
def test_a_model_type_is_its_default_configuration() -> None:
    with torch.device("meta"):
        network = build_external("hf:resnet", num_classes=10, in_channels=3)
    # ResNet-50: 25,557,032 parameters with 1,000 classes, of which 990 fewer of 2,049 each.
    assert sum(parameter.numel() for parameter in network.parameters()) == 25_557_032 - 990 * 2049


@needs_transformers
@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_its_modules_can_be_tapped_compiled_and_exported(kind: str, tmp_path: Path) -> None:
    network = build(architecture(tmp_path, kind), 5, 1, seed=0).eval()
    x = images()
    name = {"resnet": "resnet.encoder.stages.1", "vit": "vit.layernorm"}[kind]
    assert set(candidates(network)) >= {kind, f"{kind}.encoder" if kind == "resnet" else name, "classifier"}
    with torch.no_grad(), FeatureHooks(network, [name, "classifier:input"]) as taps:
        logits = network(x)
        features = taps.features
        assert features[name].shape == {"resnet": (2, 16, 2, 2), "vit": (2, 5, 16)}[kind]
        assert torch.equal(network.get_submodule("classifier")(features["classifier:input"]).flatten(1), logits)
        compiled = torch.compile(network, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), logits)
        torch.testing.assert_close(taps.features, features)
    with torch.no_grad():
        program = torch.export.export(network, (x,))
        torch.testing.assert_close(program.module()(x), logits)


@needs_transformers
def test_a_folder_brings_its_weights(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    place = folder(tmp_path)
    capfd.readouterr()
    loaded, trained = (
        build(f"hf:{place}", 4, 1, seed=0).eval(),
        build(f"hf:{place / 'config.json'}", 4, 1, seed=7).eval(),
    )
    assert torch.equal(loaded(images()), trained(images()))
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert capfd.readouterr() == ("", "")


@pytest.mark.fault(32, 34)
@needs_transformers
def test_a_folder_of_other_classes_or_channels_is_refused(tmp_path: Path) -> None:
    place = folder(tmp_path)
    for classes, channels in ((10, 1), (4, 3), (1, 1)):
        with pytest.raises(ValueError, match="was trained for 4 classes and 1 channels; the data has") as error:
            build(f"hf:{place}", classes, channels)
        assert f"{classes} classes and {channels} channels" in str(error.value)


@needs_transformers
def test_faulty_folders_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import load_file, save_file

    place = folder(tmp_path)
    file = place / "model.safetensors"
    weights, whole = load_file(file), file.read_bytes()

    def refused(message: str) -> None:
        with pytest.raises(ValueError, match=message):
            build(f"hf:{place}", 4, 1)

    save_file(weights | {"classifier.1.bias": torch.tensor([0.0, 1.0, 2.0, torch.nan])}, file, {"format": "pt"})
    refused("weights that are not finite: 1 in classifier.1.bias")
    save_file({name: value for name, value in weights.items() if name != "classifier.1.bias"}, file, {"format": "pt"})
    refused("the weights of .* lack classifier.1.bias")
    save_file(weights | {"head.bias": torch.zeros(1)}, file, {"format": "pt"})
    refused(r"the weights of .* have, beside what the network needs, head\.bias")
    save_file(weights | {"classifier.1.weight": torch.zeros(4, 9)}, file, {"format": "pt"})
    refused("transformers cannot build")
    file.write_bytes(whole[:-8])
    refused("transformers cannot build")
    file.unlink()
    torch.save(weights, place / "pytorch_model.bin")
    refused("the weights must be safetensors: convert others on a machine you trust")
    (place / "config.json").write_text("{")
    refused("has no configuration that transformers can read")
    (place / "config.json").write_text(json.dumps({"model_type": "bert"}))
    refused("unknown image classifier in .*, model type 'bert'")
    assert "LOAD REPORT" not in capfd.readouterr().err


@pytest.mark.fault(28)
@needs_transformers
def test_nothing_in_a_folder_is_run(tmp_path: Path) -> None:
    place, marker = folder(tmp_path), tmp_path / "marker"
    (place / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Config: pass\nclass Model: pass\n")
    code = {"auto_map": {"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.Model"}}
    for kind in ("resnet", "unheard_of"):
        config = json.loads((place / "config.json").read_text()) | code | {"model_type": kind}
        (place / "config.json").write_text(json.dumps(config))
        if kind == "resnet":
            build(f"hf:{place}", 4, 1)
        else:
            with pytest.raises(ValueError, match="has no configuration that transformers can read"):
                build(f"hf:{place}", 4, 1)

    class Payload:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {marker}",)

    (place / "model.safetensors").unlink()
    torch.save({"classifier.1.bias": Payload()}, place / "pytorch_model.bin")
    config.pop("auto_map")
    (place / "config.json").write_text(json.dumps(config | {"model_type": "resnet"}))
    with pytest.raises(ValueError, match="the weights must be safetensors"):
        build(f"hf:{place}", 4, 1)
    assert not marker.exists()


@needs_transformers
def test_unknown_names_of_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="unknown transformers model 'resnat': did you mean resnet"):
        constructor("hf:resnat")
    with pytest.raises(ValueError, match=r"unknown transformers model 'missing/config\.json'"):
        constructor("hf:missing/config.json")
    for name in ("owner/never-downloaded", "three/part/name"):
        with pytest.raises(ValueError, match=f"run: hf download {name}"):
            constructor(f"hf:{name}")
    # A model type is not hidden by a folder of its name in the working directory.
    (tmp_path / "resnet").mkdir()
    monkeypatch.chdir(tmp_path)
    assert expectation("hf:resnet") == expectation("hf:resnet", 3)
    with pytest.raises(ValueError, match="has no configuration"):
        constructor("hf:./resnet")


@needs_transformers
def test_channels_that_an_architecture_cannot_take() -> None:
    with pytest.raises(ValueError, match="'hf:pp_lcnet' takes images of 3 channels, the data has 1"):
        build_external("hf:pp_lcnet", 10, 1)


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@needs_transformers
def test_expectation_of_an_architecture(tmp_path: Path) -> None:
    assert expectation("hf:resnet") == Expectation(size=None, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert expectation("hf:vit") == Expectation(size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    grey = expectation(architecture(tmp_path, "vit", image_size=[32, 32]), in_channels=1)
    assert grey is not None
    assert grey.size == 32
    assert grey.mean == pytest.approx((0.449,))
    assert grey.std == pytest.approx((0.226,))
    with pytest.raises(ValueError, match=r"expects images of size \[32, 16\], and only square ones"):
        expectation(architecture(tmp_path, "vit", image_size=[32, 16]))


@needs_transformers
@pytest.mark.parametrize(
    ("prepared", "size", "mean", "std"),
    [
        ({"size": {"height": 24, "width": 24}, "image_mean": [0.5], "image_std": [0.25]}, 24, 0.5, 0.25),
        ({"size": 20, "image_mean": [0.5], "image_std": [0.25], "do_rescale": True}, 20, 0.5, 0.25),
        (
            {"size": {"shortest_edge": 20}, "do_center_crop": True, "crop_size": 18, "image_mean": [0.5] * 3},
            18,
            0.5,
            0.226,
        ),
        ({"do_resize": False, "size": 20, "do_normalize": False}, 16, 0.0, 1.0),
        ({"rescale_factor": 1 / 127.5, "image_mean": [1.0], "image_std": [1.0]}, 16, 0.5, 0.5),
        ({"do_rescale": False, "image_mean": [127.5], "image_std": [51.0]}, 16, 0.5, 0.2),
    ],
)
def test_expectation_of_a_folder(
    prepared: dict[str, Any], size: int, mean: float, std: float, tmp_path: Path
) -> None:
    place = folder(tmp_path, "vit", id2label={"0": "cat", "1": "dog", "2": "cow", "3": "emu"})
    (place / "preprocessor_config.json").write_text(json.dumps(prepared))
    expected = expectation(f"hf:{place}", in_channels=1)
    assert expected is not None
    assert expected.class_names == ("cat", "dog", "cow", "emu")
    assert (expected.size, *expected.mean, *expected.std) == pytest.approx((size, mean, std), abs=1e-6)


@pytest.mark.fault(21)
@needs_transformers
def test_a_folder_that_does_not_say_how_images_are_prepared(tmp_path: Path) -> None:
    place = folder(tmp_path)
    assert expectation(f"hf:{place}", 1).class_names is None  # type: ignore[union-attr]  # LABEL_0 is no name
    no_numbers = ('{"image_std": [0, 1, 1]}', '{"image_std": [1, -1, 1]}', '{"image_mean": [NaN, 0, 0]}')
    for text in ("[]", "{", '{"image_mean": 3}', '{"image_mean": [0, 0]}', '{"rescale_factor": 0}', *no_numbers):
        (place / "preprocessor_config.json").write_text(text)
        with pytest.raises(ValueError, match=r"preprocessor_config\.json does not say how images are prepared"):
            expectation(f"hf:{place}")


@needs_transformers
def test_the_source_is_the_version_or_the_files(tmp_path: Path) -> None:
    import transformers

    assert source("hf:resnet") == f"transformers {transformers.__version__}"
    place = folder(tmp_path)
    first, alone = source(f"hf:{place}"), source(f"hf:{place / 'config.json'}")
    assert first == source(f"hf:{place}") != alone
    changed = bytearray((place / "model.safetensors").read_bytes())
    changed[-1] ^= 1
    (place / "model.safetensors").write_bytes(changed)
    assert source(f"hf:{place}") != first
    assert source(f"hf:{place / 'config.json'}") == alone


# ---------------------------------------------------------------- timm


def pretend(monkeypatch: pytest.MonkeyPatch, **parts: Any) -> None:
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(__name__="timm", __version__="1.2.3", **parts))


def test_the_arguments_timm_is_called_with(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[dict[str, Any]] = []

    def create_model(model_name: str, **options: Any) -> nn.Module:
        calls.append({"model_name": model_name, **options})
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(options["num_classes"]))

    known = ["resnet18", "resnet34", "tall"]
    shapes = {"resnet18": (3, 224, 224), "tall": (3, 224, 112)}
    pretend(
        monkeypatch,
        create_model=create_model,
        is_model=known.__contains__,
        list_models=lambda: known,
        get_pretrained_cfg=lambda name: SimpleNamespace(input_size=shapes[name], mean=(0.5,) * 3, std=(0.25,) * 3),
    )
    assert build("timm:resnet18", 7, 1)(images()).shape == (2, 7)
    assert calls == [{"model_name": "resnet18", "pretrained": False, "num_classes": 7, "in_chans": 1}]
    assert expectation("timm:resnet18") == Expectation(size=224, mean=(0.5,) * 3, std=(0.25,) * 3)
    assert expectation("timm:resnet18", 1) == Expectation(size=224, mean=(0.5,), std=(0.25,))
    assert source("timm:resnet18") == "timm 1.2.3"
    with pytest.raises(ValueError, match=r"unknown timm model 'resnet19': did you mean resnet18 or resnet34\?"):
        constructor("timm:resnet19")
    with pytest.raises(ValueError, match=r"unknown timm model 'hub:x/y': timm\.list_models\(\) has them all"):
        constructor("timm:hub:x/y")
    with pytest.raises(ValueError, match=r"expects images of size \[224, 112\], and only square ones"):
        expectation("timm:tall")


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name="torchvision" if name == "timm" else name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(ValueError, match=r"torchvision, which is not installed: pip install 'tutelage\[vision\]'"):
        constructor("timm:resnet18")
    with pytest.raises(ValueError, match=r"transformers, which is not installed: pip install 'tutelage\[hf\]'"):
        build("hf:resnet", 10, 3)


def test_a_package_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(
        ValueError, match=r"cannot be imported \(operator torchvision::nms does not exist\): torch and"
    ):
        constructor("timm:resnet18")


def test_timm_itself() -> None:
    if not works("timm"):
        pytest.skip("timm cannot be imported: it needs torchvision of the same build as torch (extra vision)")
    network = build("timm:test_resnet", num_classes=5, in_channels=1, seed=0)
    check(network, "timm:test_resnet", 5, (1, 32, 32))
    assert expectation("timm:test_resnet") == Expectation(size=160, mean=(0.5,) * 3, std=(0.5,) * 3)
    with FeatureHooks(network, ["layer4"]) as taps:
        network(images(32))
        assert taps.features["layer4"].ndim == 4


# ---------------------------------------------------------------- ours, and the normalization it asks for


def test_names_of_ours_are_not_external() -> None:
    assert expectation("resnet20") is None
    assert expectation("package.module:function") is None
    assert source("resnet20") == "tutelage"


def test_importing_this_imports_no_package() -> None:
    code = "import sys, tutelage.models.build; print([m for m in ('transformers', 'timm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.fault(34)
def test_normalization_brings_pixels_to_the_size_a_network_wants() -> None:
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    plain = Normalization(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    for size in (4, 8, 20):
        sized = Normalization(plain.mean, plain.std, size)
        assert sized != plain
        resized = sized.apply(pixels)
        assert resized.shape == (2, 3, size, size)
        expected = nn.functional.interpolate(plain.apply(pixels), (size, size), mode="bilinear", antialias=True)
        torch.testing.assert_close(resized, expected, rtol=1e-4, atol=1e-5)
        last = sized.apply(pixels.contiguous(memory_format=torch.channels_last))
        assert last.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(last, resized, rtol=1e-4, atol=1e-5)
    assert torch.equal(Normalization(plain.mean, plain.std, 8).apply(pixels), plain.apply(pixels))
    flat = Normalization((0.0,), (1.0,), 5).apply(torch.full((1, 1, 3, 7), 51, dtype=torch.uint8))
    torch.testing.assert_close(flat, torch.full((1, 1, 5, 5), 0.2))
