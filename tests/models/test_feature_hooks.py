"""Features by module name, from plain, compiled and wrapped networks, and never silently from anything else."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch._dynamo
import torch.distributed as dist
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from tutelage import models
from tutelage.evaluation.features import last_linear
from tutelage.models.feature_hooks import FeatureHooks, candidates, resolve, unwrap

NAMES = ["stage1", "stage2.0.sum", "flatten", "classifier:input"]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    """Start each test like a new process: nothing compiled, hooks assumed never to change."""
    torch._dynamo.reset()
    torch._dynamo.config.skip_nnmodule_hook_guards = True
    yield
    torch._dynamo.reset()
    torch._dynamo.config.skip_nnmodule_hook_guards = True


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = models.resnet8(num_classes=5, in_channels=1).eval()
    assert isinstance(net, nn.Sequential)
    return net


def compiled_of(net: nn.Module, backend: Any = "eager", fullgraph: bool = True) -> nn.Module:
    compiled = torch.compile(net, backend=backend, fullgraph=fullgraph)
    assert isinstance(compiled, nn.Module)
    return compiled


def images(seed: int = 0) -> Tensor:
    return torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def by_hand(net: nn.Sequential, x: Tensor) -> dict[str, Tensor]:
    """The features of NAMES, by calling the network's parts one after the other."""
    features: dict[str, Tensor] = {}
    for name, module in net.named_children():
        if name == "stage2":
            features["stage2.0.sum"] = module.get_submodule("0.sum")(x)
        if name == "classifier":
            features["classifier:input"] = x
        x = module(x)
        if name in ("stage1", "flatten"):
            features[name] = x
    return features


def same(actual: Any, expected: dict[str, Tensor]) -> bool:
    return actual.keys() == expected.keys() and all(torch.equal(actual[name], expected[name]) for name in expected)


# ---------------------------------------------------------------- plain networks


def test_features_are_those_computed_by_hand_with_their_gradient() -> None:
    net, x = network(), images()
    with FeatureHooks(net, NAMES) as hooks:
        logits = net(x)
        assert list(hooks.features) == NAMES
        assert same(hooks.features, by_hand(net, x))
        assert torch.equal(logits, net(x))
        hooks.features["stage1"].square().sum().backward()
    with_gradient = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
    assert with_gradient == {name for name, _ in net.named_parameters() if name.startswith(("stem", "stage1"))}


def test_each_forward_replaces_the_features_and_releases_the_old() -> None:
    net = network()
    with FeatureHooks(net, ["stage1"]) as hooks:
        net(images(0))
        first = hooks.features["stage1"]
        net(images(1))
        assert same(hooks.features, {"stage1": by_hand(net, images(1))["stage1"]})
        assert not torch.equal(first, hooks.features["stage1"])
        hooks.clear()
        with pytest.raises(RuntimeError, match="no features of stage1: the network has not run since"):
            _ = hooks.features


def test_close_removes_every_hook() -> None:
    net = network()
    hooks = FeatureHooks(net, NAMES)
    net(images())
    hooks.close()
    hooks.close()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    with pytest.raises(RuntimeError, match="no features"):
        _ = hooks.features


def test_hooks_set_twice_on_one_network_do_not_disturb_each_other() -> None:
    net = network()
    with FeatureHooks(net, ["stage1"]) as one:
        with FeatureHooks(net, ["flatten", "flatten"]) as other:
            net(images())
            assert list(other.features) == ["flatten"]
        net(images(1))
        assert same(one.features, {"stage1": by_hand(net, images(1))["stage1"]})


def test_no_names_no_hooks() -> None:
    net = network()
    with FeatureHooks(net, []) as hooks:
        net(images())
        assert hooks.features == {}
        assert not net._forward_pre_hooks


def test_of_a_module_called_twice_the_last_call_counts() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.twofold = nn.Linear(1, 1, bias=False)
            nn.init.constant_(self.twofold.weight, 2.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.twofold(self.twofold(x))  # type: ignore[no-any-return]  # calling a module is untyped

    net = Twice()
    with FeatureHooks(net, ["twofold", "twofold:input"]) as hooks:
        net(torch.ones(1, 1))
        assert {name: feature.item() for name, feature in hooks.features.items()} == {
            "twofold": 4,
            "twofold:input": 2,
        }


def test_modes_without_gradient() -> None:
    net, x = network(), images()
    with FeatureHooks(net, NAMES) as hooks:
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                net(x)
                assert same(hooks.features, by_hand(net, x))
                assert not hooks.features["stage1"].requires_grad


# ---------------------------------------------------------------- what does not fit


def test_unknown_names_list_what_is_near() -> None:
    net = network()
    with pytest.raises(ValueError, match="unknown module 'stag3': did you mean stage3") as near:
        FeatureHooks(net, ["stage1", "stag3"])
    assert "stem" not in str(near.value)
    with pytest.raises(ValueError, match=r"unknown module 'wxyz': choose from classifier, .*stage1, .*stem"):
        FeatureHooks(net, ["wxyz"])
    with pytest.raises(ValueError, match=r"unknown module 'stage2.1.sum': did you mean stage2.0\?"):
        resolve(network(), "stage2.1.sum")
    with pytest.raises(ValueError, match=r"unknown module 'classifier\.weight'"):
        resolve(net, "classifier.weight")
    with pytest.raises(ValueError, match="unknown module ''"):
        resolve(net, "")
    assert not any(module._forward_hooks for module in net.modules())


def test_candidates_are_the_outer_levels_and_can_all_be_hooked() -> None:
    net = network()
    assert {"stem", "stage1", "stage3", "classifier"} <= set(candidates(net, limit=10))
    assert "stage1.0.sum" in candidates(net, limit=1000)
    assert candidates(compiled_of(net)) == candidates(net)
    assert candidates(nn.ModuleDict({"list": nn.ModuleList([nn.ReLU()])})) == ["list.0"]
    with FeatureHooks(net, candidates(net)) as hooks:
        net(images())
        assert set(hooks.features) == set(candidates(net))


class Structured(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, SimpleNamespace]:
        return x, SimpleNamespace(last_hidden_state=x)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.inner, self.unused = nn.ReLU(), Structured(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.used(self.inner(x=x)[0])
        return out


@pytest.mark.parametrize("compiled", [False, True])
def test_what_is_not_a_tensor_is_refused(compiled: bool) -> None:
    net = Unused()
    run: Callable[..., Any] = compiled_of(net, fullgraph=False) if compiled else net
    with (
        FeatureHooks(net, ["inner"]),
        pytest.raises(ValueError, match="module 'inner' gives a tuple, and a feature"),
    ):
        run(images())
    with FeatureHooks(net, ["inner:input"]), pytest.raises(ValueError, match="module 'inner:input' gives a NoneType"):
        run(images())


def test_a_module_that_the_forward_does_not_call_is_reported() -> None:
    net = Unused()
    with FeatureHooks(net, ["used", "unused"]) as hooks:
        with pytest.raises(RuntimeError, match="no features of used, unused: the network has not run since"):
            _ = hooks.features
        net(images())
        with pytest.raises(RuntimeError, match="no features of unused: the latest forward did not call them"):
            _ = hooks.features


def test_features_changed_in_place_are_refused() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True))
    with FeatureHooks(net, ["0"]) as hooks, torch.no_grad():
        net(torch.ones(1, 2))
        with pytest.raises(RuntimeError, match="the features of 0 were changed in place after they were computed"):
            _ = hooks.features
    with FeatureHooks(net, ["1"]) as hooks, torch.no_grad():
        out = net(torch.ones(1, 2))
        assert hooks.features["1"] is out


# ---------------------------------------------------------------- wrapped and compiled networks


def wrappings() -> dict[str, Callable[[nn.Module], nn.Module]]:
    def compiled_in_place(net: nn.Module) -> nn.Module:
        net.compile(backend="eager", fullgraph=True)
        return net

    return {
        "compiled": compiled_of,
        "compiled in place": compiled_in_place,
        "data parallel": nn.DataParallel,
        "compiled data parallel": lambda net: nn.DataParallel(compiled_of(net)),
        "averaged": torch.optim.swa_utils.AveragedModel,
        "twice": lambda net: nn.DataParallel(nn.DataParallel(net)),
    }


@pytest.mark.parametrize("wrapping", wrappings())
def test_wrapped_networks_give_the_features_of_the_plain_one(wrapping: str) -> None:
    net, x = network(), images()
    expected = by_hand(copy.deepcopy(net), x)
    wrapped = wrappings()[wrapping](net)
    inner = unwrap(wrapped)
    assert isinstance(inner, nn.Sequential)
    assert resolve(wrapped, "stage2.0.sum") is inner.get_submodule("stage2.0.sum")
    with FeatureHooks(wrapped, NAMES) as hooks:
        for _ in range(2):
            hooks.clear()
            wrapped(x)
            assert same(hooks.features, expected)
    # With the wrapper's own parts in the name, as named_modules() spells it, too.
    spelled = next(name for name, module in wrapped.named_modules() if module is inner.get_submodule("stage1"))
    with FeatureHooks(wrapped, [spelled]) as hooks:
        wrapped(x)
        assert same(hooks.features, {spelled: expected["stage1"]})


def test_a_network_may_be_wrapped_after_it_is_hooked() -> None:
    for wrapping, wrap in wrappings().items():
        if wrapping == "averaged":  # a copy of the network: its features are its own
            continue
        net, x = network(), images()
        with FeatureHooks(net, NAMES) as hooks:
            wrap(net)(x)
            assert same(hooks.features, by_hand(network(), x)), wrapping


# torch's compiler looks at the gradient of whatever a compiled part is given.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_a_part_that_is_compiled_on_its_own() -> None:
    net, x = network(), images()
    expected = by_hand(copy.deepcopy(net), x)
    net.stage2 = compiled_of(net.get_submodule("stage2"))
    with FeatureHooks(net, NAMES) as hooks:
        net(x)
        assert same(hooks.features, expected)


def test_distributed_data_parallel(tmp_path: Any) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        net, x = network(), images()
        wrapped = nn.parallel.DistributedDataParallel(net)
        with FeatureHooks(wrapped, NAMES) as hooks:
            wrapped(x)
            assert same(hooks.features, by_hand(network(), x))
    finally:
        dist.destroy_process_group()


def test_a_batch_split_over_several_devices_is_refused() -> None:
    net = nn.DataParallel(network())
    net.device_ids = [0, 1]
    with pytest.raises(ValueError, match="splits each batch over 2 devices"):
        FeatureHooks(net, ["stage1"])


def test_hooks_set_and_closed_after_a_compiled_network_has_run() -> None:
    net, x = network(), images()
    counter = CompileCounter()
    compiled = compiled_of(net, counter)
    expected = by_hand(copy.deepcopy(net), x)
    compiled(x)
    with FeatureHooks(compiled, NAMES) as hooks:
        compiled(x)
        assert same(hooks.features, expected)
        compiled(images(1))
        assert same(hooks.features, by_hand(copy.deepcopy(network()), images(1)))
    with FeatureHooks(compiled, ["stage3"]) as others:
        compiled(x)
        assert list(others.features) == ["stage3"]
    compiled(x)
    assert all(capture.feature is None for capture in (*hooks._captures, *others._captures))


@pytest.mark.parametrize("first", ["hook", "compile"])
def test_a_hooked_network_is_compiled_once(first: str) -> None:
    net, counter = network().train(), CompileCounter()
    compiled = compiled_of(net, counter)
    with FeatureHooks(net if first == "hook" else compiled, NAMES) as hooks:
        for _ in range(4):
            compiled(images())
            loss = torch.stack([feature.square().mean() for feature in hooks.features.values()]).sum()
            loss.backward()
    assert counter.frame_count == 1


def test_equal_compiled_networks_keep_their_features_apart() -> None:
    """Teacher and student of a born-again line have one class and one shape, and so may share compiled code."""
    x = images()
    plain = {seed: network(seed) for seed in range(4)}
    compiled = {seed: compiled_of(network(seed)) for seed in range(4)}
    compiled[3](x)
    with FeatureHooks(compiled[0], NAMES) as first, FeatureHooks(compiled[1], NAMES) as second:
        for _ in range(2):
            for seed in (0, 2, 1, 3):
                assert torch.equal(compiled[seed](x), plain[seed](x))
            assert same(first.features, by_hand(plain[0], x))
            assert same(second.features, by_hand(plain[1], x))


def test_gradient_flows_through_compiled_features() -> None:
    net, x = network().train(), images()
    twin = copy.deepcopy(net)
    compiled = compiled_of(net, "aot_eager")
    for run in (compiled, twin):
        with FeatureHooks(run, ["stage2"]) as hooks:
            loss = run(x).sum() + hooks.features["stage2"].square().mean()
            loss.backward()
    for (name, parameter), other in zip(net.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, other.grad, msg=name)


def test_the_names_of_a_large_network_are_one_readable_line() -> None:
    """The outermost modules, and how many more there are; also where the last linear layer is not clear."""
    blocks = [nn.Sequential(*(nn.Linear(4, 4) for _ in range(3))) for _ in range(40)]
    net = nn.Sequential(OrderedDict((f"a_block_with_a_long_name_{k}", block) for k, block in enumerate(blocks)))
    with pytest.raises(ValueError, match=r"unknown module 'x': choose from a_block.* and \d+ more$") as unknown:
        resolve(net, "x")
    assert ".0" not in str(unknown.value)
    with pytest.raises(ValueError, match=r"last linear layer is not clear: .* and \d+ more$") as unclear:
        last_linear(nn.Sequential(net, nn.ReLU(), nn.Flatten(), nn.Dropout(0.0)), (1, 1, 4))
    assert max(len(str(each.value)) for each in (unknown, unclear)) < 700
