from __future__ import annotations

import torch
from torch import nn

from tutelage.models import shufflenet_v1
from tutelage.models.shufflenet import SecondHalf


def test_shuffle_interleaves_the_groups() -> None:
    shuffle = shufflenet_v1().get_submodule("stage2.1.sum.body.shuffle")
    x = torch.arange(6.0).reshape(1, 6, 1, 1).expand(2, 6, 3, 4)
    assert shuffle(x)[1, :, 2, 3].tolist() == [0, 2, 4, 1, 3, 5]


def test_second_half_alone_passes_the_body() -> None:
    x = torch.arange(8.0).reshape(1, 4, 1, 2) - 5
    out = SecondHalf(nn.ReLU())(x)
    assert torch.equal(out[:, :2], x[:, :2])
    assert torch.equal(out[:, 2:], x[:, 2:].relu())


def test_v1_keeps_its_input_in_the_last_channels_of_a_first_block() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block = shufflenet_v1().get_submodule("stage1.0").eval()
    x = torch.rand(1, 24, 6, 6, generator=torch.Generator().manual_seed(0))
    pooled = nn.functional.avg_pool2d(x, 3, 2, 1)
    torch.testing.assert_close(block(x)[:, -24:], pooled)
