from __future__ import annotations

import math

import torch
from torch import nn

from tutelage.models import resnet20, resnet110
from tutelage.models.cifar_resnet import PadShortcut


def test_shortcut_takes_every_second_pixel_and_pads_zeros() -> None:
    x = torch.arange(2 * 2 * 3 * 3, dtype=torch.float64).reshape(2, 2, 3, 3) + 1
    out = PadShortcut(2)(x)
    assert torch.equal(out[:, :2], x[:, :, [0, 2]][..., [0, 2]])
    assert torch.equal(out[:, 2:], torch.zeros(2, 2, 2, 2, dtype=torch.float64))


def test_shortcut_keeps_channels_last() -> None:
    x = torch.randn(2, 16, 8, 8).to(memory_format=torch.channels_last)
    assert PadShortcut(16)(x).is_contiguous(memory_format=torch.channels_last)


def test_depth_counts_the_weighted_layers() -> None:
    with torch.device("meta"):
        for network, layers in ((resnet20(), 20), (resnet110(), 110)):
            assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in network.modules()) == layers


def test_relu_follows_the_tapped_sum() -> None:
    network = resnet20().eval()
    outputs: dict[str, torch.Tensor] = {}
    for name in ("stage2.2.sum", "stage2"):
        network.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: outputs.update({name: out}))
    network(torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert (outputs["stage2.2.sum"] < 0).any()
    assert torch.equal(outputs["stage2.2.sum"].relu(), outputs["stage2"])


def test_initial_weights_are_he_normal_over_the_outputs() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = resnet110()
    for module in network.get_submodule("stage3").modules():
        if isinstance(module, nn.Conv2d):
            assert abs(module.weight.std().item() * math.sqrt(9 * 64 / 2) - 1) < 0.03
            assert abs(module.weight.mean().item()) < 0.002
    assert not network.get_submodule("classifier").bias.any()
