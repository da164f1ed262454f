"""The cost of features from ``FeatureHooks``, compared with a forward pass that returns them itself.

Both sides run training steps of ResNet-20 with attention transfer, with the same weights, data, precision and
optimizer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.measure import Ratio, foreign_load, interleaved
from tutelage.engine import Engine
from tutelage.functional import attention_transfer
from tutelage.models.build import build
from tutelage.models.feature_hooks import FeatureHooks

STEPS, BATCH, ROUNDS = 25, 128, 11
STAGES = ("stage1", "stage2", "stage3")
Forward = Callable[[Tensor], tuple[Tensor, list[Tensor]]]


def by_hand(network: nn.Module) -> Forward:
    """The forward pass of the network, written out so that it returns the features itself."""
    children = dict(network.named_children())
    rest = [name for name in children if name not in ("stem", *STAGES)]

    def forward(images: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = children["stem"](images), []
        for name in STAGES:
            x = children[name](x)
            features.append(x)
        for name in rest:
            x = children[name](x)
        return x, features

    return forward


def hooked(network: nn.Module) -> Forward:
    """The network as it is, with its features from hooks."""
    hooks = FeatureHooks(network, STAGES)

    def forward(images: Tensor) -> tuple[Tensor, list[Tensor]]:
        logits = network(images)
        return logits, list(hooks.features.values())

    return forward


def steps(network: nn.Module, forward: Forward, engine: Engine) -> Callable[[], None]:
    """A block of training steps with attention transfer."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BATCH, 3, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 100, (BATCH,), generator=generator)
    with torch.no_grad():
        teacher = [feature.float() * 1.1 for feature in forward(images)[1]]

    def block() -> None:
        for _ in range(STEPS):
            with engine.autocast():
                logits, features = forward(images)
            pairs = zip(features, teacher, strict=True)
            attention = torch.stack([attention_transfer(one.float(), other) for one, other in pairs]).sum(0).mean()
            loss = nn.functional.cross_entropy(logits.float(), labels) + attention
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return block


def runs() -> Iterator[Ratio]:
    """The time of a step with hooks, relative to one without."""
    engine = Engine.choose()
    network = engine.place(build("resnet20", 100, 3, seed=0)).train()
    twin = copy.deepcopy(network)
    with foreign_load() as busy:
        pairs = interleaved(
            steps(network, hooked(network), engine), steps(twin, by_hand(twin), engine), rounds=ROUNDS
        )
    yield Ratio(
        name="Feature hooks: step with hooks / step with the features by hand, ResNet-20, three stages",
        rounds=[one / another for one, another in pairs],
        goal="<= 1.02",
        busy=busy[0],
        notes={"engine": str(engine)},
    )
