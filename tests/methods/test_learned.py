"""What feature methods learn beside the student, how they name layers, and what they refuse."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.functional.inputs import random_labels, random_logits
from tests.objective.batches import training_set
from tutelage import functional
from tutelage.methods.activation_boundary import activation_boundary, pre_activations
from tutelage.methods.attention_transfer import attention_transfer
from tutelage.methods.correlation_congruence import correlation_congruence_official
from tutelage.methods.fitnets import fitnets
from tutelage.methods.flow import flow
from tutelage.methods.hinton import distillation
from tutelage.methods.relational import relational
from tutelage.methods.similarity_preserving import similarity_preserving
from tutelage.methods.variational import variational
from tutelage.models.build import build
from tutelage.models.feature_hooks import resolve
from tutelage.objective import (
    BoundObjective,
    Connected,
    FeatureMatch,
    FlowMatch,
    Objective,
    Signals,
    beside_labels,
    layer_pairs,
    same_size,
)

LEARNED: dict[str, Callable[[], Objective]] = {
    "fitnets": partial(fitnets, layers=("map",)),
    "variational": partial(variational, layers=("map", "smaller")),
    "activation_boundary": partial(activation_boundary, layers=("map", "smaller")),
    "correlation_congruence_official": partial(correlation_congruence_official, layers=("vector",)),
}
every_learned = pytest.mark.parametrize("name", LEARNED)


def signals(seed: int = 0, rows: int = 6) -> Signals:
    """Maps of 3 channels for a student and of 5 for its teacher."""
    student = {"map": (3, 8, 8), "smaller": (4, 4, 4), "vector": (12,)}
    teacher = {"map": (5, 8, 8), "smaller": (6, 4, 4), "vector": (20,)}
    return Signals(
        student_logits=random_logits(seed, rows, 4).requires_grad_(),
        labels=random_labels(seed, rows, 4),
        student_features={
            name: random_logits(seed + i, rows, *shape).requires_grad_()
            for i, (name, shape) in enumerate(student.items(), start=1)
        },
        teacher_features={
            name: random_logits(seed + i, rows, *shape) for i, (name, shape) in enumerate(teacher.items(), start=11)
        },
    )


def bind(objective: Objective, example: Signals, seed: int = 0) -> BoundObjective:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return objective.bind(example, training_set(example))


def of(student: Tensor, teacher: Tensor) -> Signals:
    """A batch of one layer."""
    return replace(signals(rows=len(student)), student_features={"a": student}, teacher_features={"a": teacher})


# what is learned


@every_learned
def test_the_first_weights_are_a_function_of_the_seed(name: str) -> None:
    batch = signals()
    one, again = bind(LEARNED[name](), batch, 0), bind(LEARNED[name](), batch, 0)
    other = bind(LEARNED[name](), batch, 1)
    assert one.state_dict()
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in one.state_dict().items())
    assert any(not torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())
    elsewhere = bind(LEARNED[name](), signals(seed=7))  # the example gives shapes and nothing else
    assert all(torch.equal(value, elsewhere.state_dict()[key]) for key, value in one.state_dict().items())


@every_learned
def test_all_that_is_learned_gets_a_gradient_and_the_teacher_none(name: str) -> None:
    objective, batch = LEARNED[name](), signals()
    for feature in batch.teacher_features.values():
        feature.requires_grad_()
    bound = bind(objective, batch)
    bound(batch).total.backward()
    for each, parameter in bound.named_parameters():
        assert parameter.grad is not None, each
        assert parameter.grad.isfinite().all(), each
        # a bias before a batch normalisation is without effect
        assert each.endswith("connector.0.bias") or parameter.grad.any(), each
    for layer in objective.student_layers:
        gradient = batch.student_features[layer].grad
        assert gradient is not None
        assert gradient.any()
    assert all(feature.grad is None for feature in batch.teacher_features.values())


@every_learned
def test_its_state_goes_out_and_in(name: str) -> None:
    batch = signals()
    one, other = bind(LEARNED[name](), batch, 0), bind(LEARNED[name](), batch, 1)
    assert one(batch).total != other(batch).total
    for value in one.state_dict().values():
        if value.is_floating_point():
            value += 0.01  # as if trained
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(batch).total, other(batch).total)


@every_learned
def test_it_learns_to_match(name: str) -> None:
    batch = signals()
    bound = bind(LEARNED[name](), batch)
    before = bound(batch).total.item()
    optimizer = torch.optim.Adam(bound.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        bound(batch).total.backward()
        optimizer.step()
    assert bound(batch).total.item() < before


@every_learned
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_has_the_dtype_of_the_features(name: str, dtype: torch.dtype) -> None:
    batch = signals()
    batch = replace(
        batch,
        student_logits=batch.student_logits.to(dtype),
        student_features={layer: feature.to(dtype) for layer, feature in batch.student_features.items()},
        teacher_features={layer: feature.to(dtype) for layer, feature in batch.teacher_features.items()},
    )
    bound = bind(LEARNED[name](), batch)
    assert {parameter.dtype for parameter in bound.parameters()} == {dtype}
    assert bound(batch).total.dtype == dtype


@every_learned
def test_without_what_it_learns_it_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"has weights of its own: call Objective\.bind first"):
        LEARNED[name]()(signals())


def test_methods_that_learn_mix_with_any_other() -> None:
    batch = replace(signals(), teacher_logits=random_logits(3, 6, 4))
    mixed = distillation(hard_weight=0.5)
    for other in (
        *(make() for make in LEARNED.values()),
        attention_transfer(layers=("map",)),
        relational(layers=("vector",)),
    ):
        mixed = mixed.also(other)
    assert mixed.student_layers == ("map", "smaller", "vector")
    bound = bind(mixed, batch)
    assert list(bound.learned) == ["hint", "information", "boundary", "correlation"]
    parts = bound(batch).parts
    assert list(parts) == [term.name for term in mixed.terms]
    for name, make in LEARNED.items():
        (term,) = (each.name for each in make().terms if each.name != "labels")
        assert parts[term].isfinite(), name
    torch.testing.assert_close(parts["labels"], 0.5 * attention_transfer(layers=("map",))(batch).parts["labels"])


# connectors


def shape_of(bound: BoundObjective, batch: Signals) -> torch.Size:
    (head,) = bound.learned["hint"].heads
    shape: torch.Size = head.connector(batch.student_feature("a")).shape
    return shape


@pytest.mark.parametrize(
    ("size", "target", "kind", "kernel", "stride"),
    [
        ((8, 8), (4, 4), nn.Conv2d, (3, 3), (2, 2)),
        ((7, 7), (7, 7), nn.Conv2d, (1, 1), (1, 1)),
        ((4, 4), (8, 8), nn.ConvTranspose2d, (4, 4), (2, 2)),
        ((8, 8), (6, 6), nn.Conv2d, (3, 3), (1, 1)),
        ((8, 9), (8, 3), nn.Conv2d, (1, 7), (1, 1)),
        ((2, 2), (1, 1), nn.Conv2d, (3, 3), (2, 2)),
    ],
)
def test_the_regressor_fits_the_sizes(
    size: tuple[int, int], target: tuple[int, int], kind: type, kernel: tuple[int, int], stride: tuple[int, int]
) -> None:
    batch = of(random_logits(1, 2, 3, *size), random_logits(2, 2, 5, *target))
    bound = bind(fitnets(layers=("a",)), batch)
    first, norm, relu = bound.learned["hint"].heads[0].connector
    assert isinstance(first, kind)
    assert (first.kernel_size, first.stride) == (kernel, stride)
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(relu, nn.ReLU)
    assert shape_of(bound, batch) == (2, 5, *target)


sides = st.integers(1, 9)


@given(sides, sides, sides, sides)
def test_a_regressor_leads_to_the_teacher_or_says_why_not(height: int, width: int, tall: int, wide: int) -> None:
    batch = of(random_logits(1, 3, 3, height, width), random_logits(2, 3, 5, tall, wide))
    fits = (height >= tall and width >= wide) or (2 * height == tall and 2 * width == wide)
    if fits:
        assert shape_of(bind(fitnets(layers=("a",)), batch), batch) == (3, 5, tall, wide)
    else:
        with pytest.raises(ValueError, match=re.escape(f"student features [3, 3, {height}, {width}] to teacher")):
            bind(fitnets(layers=("a",)), batch)


@pytest.mark.parametrize(("student", "teacher"), [((3, 4, 4), (20,)), ((20,), (3, 4, 4)), ((7, 12), (7, 16))])
def test_what_no_regressor_connects(student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
    batch = of(random_logits(1, 2, *student), random_logits(2, 2, *teacher))
    with pytest.raises(ValueError, match="connector"):
        bind(fitnets(layers=("a",)), batch)


def test_vectors_get_a_linear_regressor() -> None:
    batch = of(random_logits(1, 1, 12), random_logits(2, 1, 20))  # also in a batch of one
    bound = bind(fitnets(layers=("a",)), batch)
    first, relu = bound.learned["hint"].heads[0].connector
    assert isinstance(first, nn.Linear)
    assert isinstance(relu, nn.ReLU)
    assert shape_of(bound, batch) == (1, 20)


def test_a_connector_only_where_one_is_needed() -> None:
    alike = of(random_logits(1, 6, 3, 4, 4), random_logits(2, 6, 3, 4, 4))
    boundary, hint = bind(activation_boundary(layers=("a",)), alike), bind(fitnets(layers=("a",)), alike)
    assert not list(boundary.parameters())
    assert list(hint.parameters())
    (mixed,) = bind(activation_boundary(layers=("map",)), signals()).learned["boundary"].heads
    assert [type(layer) for layer in mixed.connector] == [nn.Conv2d, nn.BatchNorm2d]
    assert mixed.connector[0].kernel_size == (1, 1)


def test_any_distance_takes_a_connector() -> None:
    def transfer(always: bool) -> Objective:
        distance = Connected(distance=functional.attention_transfer, always=always)
        return beside_labels(
            1.0, FeatureMatch(name="mine", layers=(("map", "map"),), distance=distance, pooled=False)
        )

    batch = signals()
    assert str(transfer(False)) == "H(labels, student) + connected attention_transfer(map)"
    assert bind(transfer(False), batch)(batch).total.isfinite()
    twice = of(random_logits(1, 2, 3, 8, 8), random_logits(2, 2, 3, 8, 8))
    assert not list(
        bind(
            Objective(
                (
                    FeatureMatch(
                        name="a", layers=(("a", "a"),), distance=Connected(distance=functional.attention_transfer)
                    ),
                )
            ),
            twice,
        ).parameters()
    )


# variances and embeddings


@pytest.mark.parametrize("variance", [1e-4, 0.5, 5.0, 200.0])
def test_the_first_variance(variance: float) -> None:
    bound = bind(variational(variance=variance, layers=("map",)), signals())
    (head,) = bound.learned["information"].heads
    torch.testing.assert_close(head.variance, torch.full((5,), variance, dtype=torch.float64))


@pytest.mark.parametrize("variance", [0.0, 1e-5, -1.0, float("nan"), float("inf")])
def test_a_first_variance_that_is_none(variance: float) -> None:
    with pytest.raises(ValueError, match="the initial variance must be"):
        variational(variance=variance)


def test_the_best_variance_of_a_channel_is_its_mean_squared_error() -> None:
    batch = signals()
    bound = bind(variational(layers=("map",)), batch)
    (head,) = bound.learned["information"].heads
    error = head.mean(batch.student_feature("map")) - batch.teacher_feature("map")
    best = error.detach().square().mean((0, 2, 3))
    with torch.no_grad():
        head.spread.copy_(torch.log(torch.expm1(best - 1e-5)))
    torch.testing.assert_close(head.variance, best)
    (gradient,) = torch.autograd.grad(bound(batch).total, head.spread)
    assert gradient.abs().max() < 1e-12


def test_the_prediction_is_three_layers_as_wide_as_the_teacher() -> None:
    bound = bind(variational(layers=("map", "vector")), signals())
    of_maps, of_vectors = bound.learned["information"].heads
    assert [tuple(weight.shape) for weight in of_maps.mean.parameters()] == [(5, 3, 1, 1), (5, 5, 1, 1), (5, 5, 1, 1)]
    assert [tuple(weight.shape) for weight in of_vectors.mean.parameters()] == [(20, 12), (20, 20), (20, 20)]


def test_both_embeddings_have_the_configured_width() -> None:
    bound = bind(correlation_congruence_official(layers=("map",), embedding=7), signals())
    (head,) = bound.learned["correlation"].heads
    assert (head.student.weight.shape, head.teacher.weight.shape) == ((7, 3 * 64), (7, 5 * 64))
    with pytest.raises(ValueError, match="a size of at least 1, not 0"):
        correlation_congruence_official(embedding=0)


# layers and sizes


def test_layers_of_two_names() -> None:
    batch = signals()
    objective = attention_transfer(layers=(("smaller", "map"), "map"))
    assert objective.student_layers == ("smaller", "map")
    assert objective.teacher_layers == ("map",)
    assert str(objective) == "H(labels, student) + 1000 attention_transfer(smaller/map, map)"
    one = functional.attention_transfer(*same_size(batch.student_feature("smaller"), batch.teacher_feature("map")))
    two = functional.attention_transfer(batch.student_feature("map"), batch.teacher_feature("map"))
    torch.testing.assert_close(objective(batch).parts["attention"], 1000 * (one + two).mean())


def test_a_flow_of_two_names() -> None:
    objective = flow(layers=("stem", ("stage1", "layer1"), ("stage2", "layer2")))
    assert objective.student_layers == ("stem", "stage1", "stage2")
    assert objective.teacher_layers == ("stem", "layer1", "layer2")
    assert str(objective) == "H(labels, student) + 50 flow(stem-stage1/stem-layer1, stage1-stage2/layer1-layer2)"


@pytest.mark.parametrize("make", [fitnets, flow, attention_transfer, activation_boundary, relational])
def test_one_name_is_no_tuple_of_names(make: Callable[..., Objective]) -> None:
    with pytest.raises(
        TypeError, match=re.escape("layers are a tuple of names or of pairs of names: ('stage1',), not")
    ):
        make(layers="stage1")


@pytest.mark.parametrize("make", [fitnets, attention_transfer, activation_boundary, relational])
def test_no_layer_at_all(make: Callable[..., Objective]) -> None:
    with pytest.raises(ValueError, match="needs at least one pair of layers"):
        make(layers=())


def test_a_flow_needs_two_layers() -> None:
    with pytest.raises(ValueError, match=r"layers are at least two, not \('stem',\)"):
        flow(layers=("stem",))
    with pytest.raises(ValueError, match="needs at least one pair"):
        FlowMatch(name="flow", layers=())


def test_a_flow_needs_as_many_channels() -> None:
    message = "the flow of map has 3 channels in the student and 5 in the teacher: it needs the same number in both"
    with pytest.raises(ValueError, match=message):
        flow(layers=("map", "smaller"))(signals())


def test_a_flow_pools_the_larger_map_of_a_network() -> None:
    batch = signals()
    batch = replace(
        batch,
        teacher_features=batch.student_features,
        student_features={name: (feature * 2).detach() for name, feature in batch.student_features.items()},
    )
    value = flow(layers=("map", "smaller"))(batch).parts["flow"]
    small = {
        name: same_size(feature, batch.teacher_feature("smaller"))[0]
        for name, feature in batch.teacher_features.items()
        if name != "vector"
    }
    gram = functional.flow_matrix(small["map"], small["smaller"])
    torch.testing.assert_close(value, 50 * (3 * gram).square().mean())  # 2 x 2 less 1 x 1


def test_relations_compare_shapes_as_they_are() -> None:
    batch = of(random_logits(1, 4, 3, 8, 8), random_logits(2, 4, 5, 4, 4))
    for objective, name, distance in (
        (similarity_preserving(layers=("a",)), "similarity", functional.similarity_preserving),
        (relational(distance_weight=1.0, layers=("a",)), "distance", functional.relational_distance),
    ):
        weight = 3000.0 if name == "similarity" else 1.0
        whole = distance(batch.student_feature("a"), batch.teacher_feature("a"))
        torch.testing.assert_close(objective(batch).parts[name], weight * whole.mean())


@pytest.mark.parametrize("model", ["resnet8", "resnet14", "resnet20", "resnet32x4"])
def test_pre_activations_are_the_last_of_each_stage(model: str) -> None:
    depth = int(re.findall(r"\d+", model)[0])
    network = build(model, 4, 1, seed=0)
    for stage, (name, same) in enumerate(pre_activations(depth, depth), start=1):
        assert name == same
        assert resolve(network, name) is resolve(network, f"stage{stage}")[-1].sum


@pytest.mark.parametrize("depth", [2, 18, 34])
def test_depths_of_other_networks(depth: int) -> None:
    with pytest.raises(ValueError, match=f"6n . 2 layers, not {depth}"):
        pre_activations(20, depth)


def test_pairs_stay_pairs() -> None:
    assert layer_pairs(layer_pairs(("a", ("b", "c")))) == (("a", "a"), ("b", "c"))


def test_as_many_weights_as_layers() -> None:
    with pytest.raises(ValueError, match="'mine' has 1 layers and 2 weights"):
        FeatureMatch(name="mine", layers=(("a", "a"),), distance=functional.fitnet_hint, layer_weights=(1.0, 2.0))


@pytest.mark.parametrize("make", [*LEARNED.values(), partial(flow, layers=("map", "smaller"))])
@pytest.mark.parametrize("whose", ["student", "teacher"])
def test_layers_that_were_not_tapped(make: Callable[[], Objective], whose: str) -> None:
    batch = replace(signals(), **{f"{whose}_features": {"other": random_logits(0, 6, 3)}})
    with pytest.raises(ValueError, match=f"no features of the {whose}'s layer '(map|vector)', only of: other"):
        bind(make(), batch)(batch)
