"""What holds for every network, of whatever family."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from tutelage import models

GIANTS = {
    "densenet_bc_190_40",
    "resnext29_8x64d",
    "resnext101_32x8d",
    "wrn_28_10",
}  # too slow to build for every test


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def build(name: str, num_classes: int = 5, in_channels: int = 3) -> nn.Sequential:
    network: nn.Sequential = getattr(models, name)(num_classes, in_channels)
    return network


def images(batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def settled(name: str) -> nn.Sequential:
    """A network whose running statistics fit its weights, so that its logits are neither huge nor tiny."""
    network = build(name)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(images(16))
    return network.eval()


def after(network: nn.Sequential, name: str) -> nn.Sequential:
    return network[[child for child, _ in network.named_children()].index(name) + 1 :]


every_network = pytest.mark.parametrize("name", models.__all__)
small_network = pytest.mark.parametrize("name", [name for name in models.__all__ if name not in GIANTS])


# Channels and height of the stages for a 32x32 image, read off the public codes.
STAGES = {
    "densenet121": [(256, 32), (512, 16), (1024, 8), (1024, 4)],
    "densenet_bc_100_12": [(216, 32), (300, 16), (342, 8)],
    "densenet_bc_190_40": [(1320, 32), (1900, 16), (2190, 8)],
    "googlenet": [(480, 32), (832, 16), (1024, 8)],
    "mobilenet_v2": [(16, 34), (24, 17), (32, 9), (64, 5), (96, 5), (160, 5), (320, 5)],
    "mobilenet_v2_half": [(8, 16), (12, 16), (16, 8), (32, 4), (48, 4), (80, 2), (160, 2)],
    "plain_cnn": [(32, 16), (64, 8), (128, 4)],
    "resnet18": [(64, 32), (128, 16), (256, 8), (512, 4)],
    "resnet50": [(256, 32), (512, 16), (1024, 8), (2048, 4)],
    "resnet8x4": [(64, 32), (128, 16), (256, 8)],
    "resnet32x4": [(64, 32), (128, 16), (256, 8)],
    "resnext29_8x64d": [(256, 32), (512, 16), (1024, 8)],
    "resnext101_32x8d": [(256, 32), (512, 16), (1024, 8), (2048, 4)],
    "shufflenet_v1": [(240, 16), (480, 8), (960, 4)],
    "shufflenet_v2": [(116, 16), (232, 8), (464, 4)],
    "shufflenet_v2_tfkd": [(116, 16), (232, 8), (464, 4)],
    "vgg8": [(128, 16), (256, 8), (512, 4), (512, 4)],
    "vgg13": [(128, 16), (256, 8), (512, 4), (512, 4)],
    "wrn_16_2": [(32, 32), (64, 16), (128, 8)],
    "wrn_28_1": [(16, 32), (32, 16), (64, 8)],
    "wrn_28_2": [(32, 32), (64, 16), (128, 8)],
    "wrn_28_5": [(80, 32), (160, 16), (320, 8)],
    "wrn_28_10": [(160, 32), (320, 16), (640, 8)],
    "wrn_40_1": [(16, 32), (32, 16), (64, 8)],
    "wrn_40_2": [(32, 32), (64, 16), (128, 8)],
}
STAGES |= {f"resnet{layers}": [(16, 32), (32, 16), (64, 8)] for layers in (8, 14, 20, 32, 44, 56, 110)}


@every_network
def test_names_and_shapes_on_the_meta_device(name: str) -> None:
    with torch.device("meta"):
        network = getattr(models, name)()
        shapes: dict[str, tuple[int, int]] = {}
        for child, module in network.named_children():
            if child.startswith("stage"):
                module.register_forward_hook(
                    lambda _module, _inputs, output, child=child: shapes.update({child: tuple(output.shape[1:3])})
                )
        assert network(torch.empty(2, 3, 32, 32)).shape == (2, 10)
        assert list(shapes.items()) == [(f"stage{i}", shape) for i, shape in enumerate(STAGES[name], 1)]
        assert network(torch.empty(2, 3, 8, 15)).shape == (2, 10)
    names = [child for child, _ in network.named_children()]
    assert names[0] == ("stage1" if name == "plain_cnn" else "stem")
    assert names[names.index("pool") + 1] == "flatten"
    assert names[-1] == "classifier"


@small_network
def test_training_step_is_finite_and_reaches_every_parameter(name: str) -> None:
    network = build(name).train()
    logits = network(images(4))
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        # The gradient of a bias before a normalisation is zero but for rounding.
        assert parameter.grad.any() or parameter_name.endswith("bias"), parameter_name


@small_network
def test_evaluation(name: str) -> None:
    network = settled(name)
    x = images(3)
    outputs: list[Tensor] = []
    network.get_submodule("flatten").register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    with torch.no_grad():
        logits = network(x)
        assert logits.isfinite().all()
        assert logits.std() > 0.03
        # The pooled feature is the output of a named module.
        assert outputs[0].ndim == 2
        assert torch.equal(after(network, "flatten")(outputs[0]), logits)
        # An image's logits do not depend on the batch around it, nor on the memory layout.
        torch.testing.assert_close(network(x[1:2]), logits[1:2], rtol=1e-3, atol=1e-3)
        network.to(memory_format=torch.channels_last)
        torch.testing.assert_close(network(x.to(memory_format=torch.channels_last)), logits, rtol=1e-3, atol=1e-3)


@small_network
def test_state_dict_alone_makes_an_equal_network(name: str) -> None:
    first = settled(name)
    with torch.device("meta"):
        second = build(name).eval()
    second.load_state_dict(first.state_dict(), assign=True)
    with torch.no_grad():
        assert torch.equal(first(images(1)), second(images(1)))


@small_network
def test_no_module_changes_the_output_of_another(name: str) -> None:
    network = build(name).train()
    records: list[tuple[str, Tensor, int, Tensor]] = []
    for module_name, module in network.named_modules():
        module.register_forward_hook(
            lambda _module, _inputs, output, module_name=module_name: records.append(
                (module_name, output, output._version, output.detach().clone())
            )
        )
    network(images())
    assert {"stage1", "stage2", "stage3", "flatten"} <= {module_name for module_name, *_ in records}
    for module_name, output, version, value in records:
        assert output._version == version, module_name
        assert torch.equal(output, value), module_name
