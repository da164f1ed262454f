"""Features of frozen networks: those of a forward written by hand, however the network is wrapped, for any images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from tutelage.data import Normalization
from tutelage.engine import Engine
from tutelage.evaluation.features import converted, features, last_linear
from tutelage.models.build import build

SHAPE = (3, 8, 8)
NORMALIZATION = Normalization((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
Weights = dict[str, Tensor]


def engine() -> Engine:
    return Engine.choose("cpu", "fp32", 1)


def images(count: int = 6, channels: int = 3, size: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8)


def trained(name: str) -> nn.Module:
    """A network with batch statistics of its own, so that eval mode differs from training mode."""
    network = build(name, 4, 3, seed=2)
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0.0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0.0, 0.3, generator=generator)
    return network


def normalize(x: Tensor, w: Weights, name: str) -> Tensor:
    mean, var, scale, shift = (
        w[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * scale + shift


def resnet8_by_hand(x: Tensor, w: Weights) -> Tensor:
    x = normalize(F.conv2d(x, w["stem.conv.weight"], padding=1), w, "stem.norm").relu()
    for stage, stride in ((1, 1), (2, 2), (3, 2)):
        body = f"stage{stage}.0.sum.body"
        y = normalize(F.conv2d(x, w[f"{body}.conv1.weight"], stride=stride, padding=1), w, f"{body}.norm1").relu()
        y = normalize(F.conv2d(y, w[f"{body}.conv2.weight"], padding=1), w, f"{body}.norm2")
        short = x[:, :, ::stride, ::stride]
        short = torch.cat([short, torch.zeros_like(y)[:, short.shape[1] :]], 1)
        x = (y + short).relu()
    return x.mean((2, 3))


def vgg8_by_hand(x: Tensor, w: Weights) -> Tensor:
    for block in ("stem", "stage1", "stage2", "stage3", "stage4"):
        x = F.conv2d(x, w[f"{block}.0.conv.weight"], w[f"{block}.0.conv.bias"], padding=1)
        x = normalize(x, w, f"{block}.0.norm").relu()
        x = F.max_pool2d(x, 2) if block in ("stem", "stage1", "stage2") else x
    return x.mean((2, 3))


@pytest.mark.parametrize(("name", "by_hand"), [("resnet8", resnet8_by_hand), ("vgg8", vgg8_by_hand)])
def test_features_are_those_of_a_forward_pass_written_by_hand(
    name: str, by_hand: Callable[[Tensor, Weights], Tensor]
) -> None:
    network = trained(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    layer = last_linear(network, SHAPE)
    assert layer == "classifier"
    pixels = images()
    network.train()  # features are those of eval mode all the same
    computed = features(network, pixels, NORMALIZATION, engine(), shape=SHAPE, layer=f"{layer}:input", batch_size=4)
    x = pixels.double() / 255
    x = (x - torch.tensor(NORMALIZATION.mean)[:, None, None]) / torch.tensor(NORMALIZATION.std)[:, None, None]
    expected = by_hand(x, {key: value.double() for key, value in before.items()})
    assert computed.dtype == torch.float32
    torch.testing.assert_close(computed.double(), expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def compiled_in_place(network: nn.Module) -> nn.Module:
    network.compile(backend="eager")
    return network


@pytest.mark.parametrize(
    "wrap",
    [
        lambda network: torch.compile(network, backend="eager"),
        compiled_in_place,
        nn.DataParallel,
        lambda network: nn.DataParallel(torch.compile(network, backend="eager")),
    ],
    ids=["compiled", "compiled in place", "parallel", "both"],
)
def test_wrappers_of_a_network_change_nothing(wrap: Callable[[nn.Module], nn.Module]) -> None:
    plain, wrapped = build("resnet8", 4, 3, seed=2), wrap(build("resnet8", 4, 3, seed=2))
    layer = f"{last_linear(wrapped, SHAPE)}:input"
    assert layer == "classifier:input"
    expected = features(plain, images(), NORMALIZATION, engine(), shape=SHAPE, layer=layer)
    computed = features(wrapped, images(), NORMALIZATION, engine(), shape=SHAPE, layer=layer)
    torch.testing.assert_close(computed, expected)
    with torch.no_grad():
        logits = plain(NORMALIZATION.apply(images()))
    torch.testing.assert_close(plain.get_submodule("classifier")(computed), logits)


class TwoHeads(nn.Module):
    """As many hidden units as classes, and two heads; ``answer`` computes the output from the hidden units."""

    def __init__(self, answer: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(12, 4), nn.Linear(4, 4)
        self.spare, self.answer = nn.Linear(4, 4), answer

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self, self.hidden(x.flatten(1)).relu())


def test_the_last_linear_layer_is_recognized_by_its_output() -> None:
    network = TwoHeads(lambda self, x: self.head(x).log_softmax(1))
    assert last_linear(network, (3, 2, 2)) == "head"
    network = TwoHeads(lambda self, x: self.head(x))
    network.train()
    assert last_linear(network, (3, 2, 2)) == "head"
    assert network.training


def twins() -> nn.Module:
    """Two heads of equal weights, both called."""
    network = TwoHeads(lambda self, x: (self.head(x), self.spare(x))[1])
    network.spare.load_state_dict(network.head.state_dict())
    return network


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            TwoHeads(lambda self, x: (self.head(x) + self.spare(x)) / 2),
            "none of them computes the network's scores.*: hidden:input, head:input, spare:input$",
        ),
        (
            TwoHeads(lambda self, x: x @ self.head.weight.T),
            "none of them computes the network's scores.*: hidden:input$",
        ),
        (twins(), "head and spare compute the same scores.*: head:input, spare:input$"),
        (nn.Sequential(nn.Conv2d(3, 4, 2), nn.Flatten()), r"it has none\. Name a module with --layer.*: 0, 1$"),
    ],
    ids=["the mean of two", "weights of its own", "twins", "no linear layer"],
)
def test_an_ambiguous_last_layer_names_the_candidates(network: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        last_linear(network, (3, 2, 2))


def of(network: nn.Module, layer: str) -> Tensor:
    return features(network, images(), NORMALIZATION, engine(), shape=SHAPE, layer=layer)


def test_maps_and_tokens_are_averaged() -> None:
    network = trained("resnet8")
    torch.testing.assert_close(of(network, "stage3"), of(network, "classifier:input"))
    tokens = of(nn.Sequential(nn.Flatten(2)), "0")
    torch.testing.assert_close(tokens, NORMALIZATION.apply(images()).flatten(2).mean(1))


def test_modules_without_features() -> None:
    with pytest.raises(ValueError, match="unknown module 'stage4': did you mean stage"):
        of(trained("resnet8"), "stage4")
    with pytest.raises(ValueError, match=r"'0' have the shape \[1152\] for 6 images: expected \[B, D\]"):
        of(nn.Sequential(nn.Flatten(0)), "0")
    with pytest.raises(ValueError, match="changed in place"):
        of(nn.Sequential(nn.Flatten(), nn.ReLU(inplace=True)), "0")


def test_features_that_are_not_finite_are_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    nn.init.constant_(network[1].weight, float("inf"))
    with pytest.raises(ValueError, match="'1' are not finite"):
        features(network, images(), NORMALIZATION, engine(), shape=SHAPE, layer="1")


def test_images_that_fit_are_not_changed() -> None:
    assert torch.equal(converted(images(), SHAPE), images().float())


def test_gray_is_three_times_the_same_and_back_again() -> None:
    gray = images(channels=1)
    rgb = converted(gray, SHAPE)
    assert torch.equal(rgb, gray.float().expand(-1, 3, -1, -1))
    torch.testing.assert_close(converted(rgb.to(torch.uint8), (1, 8, 8)), gray.float())


def test_gray_and_size_are_those_of_pillow_up_to_its_rounding() -> None:
    (pixels,) = images(1, size=32)
    picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    gray = torch.from_numpy(np.array(picture.convert("L")))
    torch.testing.assert_close(converted(pixels[None], (1, 32, 32))[0, 0], gray.float(), rtol=0, atol=1.0)
    small = np.array(picture.resize((5, 8), Image.Resampling.BILINEAR))
    resized = converted(pixels[None], (3, 8, 5))[0].permute(1, 2, 0)
    torch.testing.assert_close(resized, torch.from_numpy(small).float(), rtol=0, atol=1.5)


def test_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="images of 4 channels cannot be converted to the 3"):
        converted(images(channels=4), SHAPE)
