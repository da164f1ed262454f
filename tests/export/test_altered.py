"""An exported file alone knows that it was altered; and what a stranger's file may not do."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load, save

from tests.conftest import Many, Tried
from tests.export.forge import forge_onnx, forge_weights, metadata_of
from tutelage.artifacts.pretrained import read_pretrained
from tutelage.export import ExportResult, classify, load_file
from tutelage.export.read import embedded_metadata
from tutelage.storage import Damaged

FILES = ("weights.safetensors", "model.pt2", "model.onnx")


def flips(data: bytes, count: int, draw: random.Random) -> list[bytes]:
    """The same bytes, each time with one bit flipped: half of them in the first and last thousand bytes."""
    places = [draw.randrange(len(data)) for _ in range(count // 2)]
    ends = [*range(min(1000, len(data))), *range(max(0, len(data) - 1000), len(data))]
    places += draw.choices(ends, k=count - len(places))
    return [data[:k] + bytes([data[k] ^ 1 << draw.randrange(8)]) + data[k + 1 :] for k in places]


@pytest.mark.fault(40)
@pytest.mark.parametrize("file", FILES)
def test_a_flipped_bit_is_refused_or_changes_nothing(
    exported: ExportResult, tmp_path: Path, file: str, many: Many, tried: Tried
) -> None:
    """Where no ``model.json`` is beside the file."""
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    path = tmp_path / file
    data = (exported.folder / file).read_bytes()
    expected = load_file(exported.folder / file, trust=True)
    logits = expected.program(images)
    accepted = 0
    variants = flips(data, many(60, 2000), random.Random(file))
    for altered in variants:
        try:
            embedded_metadata(altered, path)  # refuses nearly all, before anything is loaded
            path.write_bytes(altered)
            model = load_file(path, trust=True)
        except Damaged:
            continue
        assert model.metadata == expected.metadata
        assert torch.equal(model.program(images), logits)
        accepted += 1
    assert accepted < len(variants) / 4
    tried(len(variants), f"bits flipped in {file}, which stands alone: {accepted} change nothing, no other answer")


def header_of(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return dict(file.metadata())


@pytest.mark.fault(40)
def test_values_that_another_program_changed_are_noticed(folder: Path, tmp_path: Path) -> None:
    """Weights, class names and a missing seal, in files that are otherwise valid."""
    path = folder / "weights.safetensors"
    content = metadata_of(folder)
    data = path.read_bytes()
    (folder / "model.json").unlink()
    tensors = load(data)
    header = header_of(path)
    changed = {name: value + 1 if name == "classifier.bias" else value for name, value in tensors.items()}
    path.write_bytes(save(changed, header))
    for reader in (load_file, read_pretrained):
        with pytest.raises(Damaged, match=r"weights\.safetensors was altered: it has SHA-256 \w{12}\.\.\., its meta"):
            reader(path)
    names = header["tutelage"].replace('"class_names": ["0", "1"', '"class_names": ["1", "0"')
    assert names != header["tutelage"]
    path.write_bytes(save(tensors, {"tutelage": names}))
    for reader in (load_file, read_pretrained):
        with pytest.raises(Damaged, match="was altered"):
            reader(path)
    path.write_bytes(save(tensors, {"tutelage": json.dumps(content)}))
    with pytest.raises(Damaged, match="have no sha256: expected a file as `tutelage export` writes it now"):
        load_file(path)
    forge_weights(path, content)
    assert load_file(path).metadata == embedded_metadata(data, path)


@pytest.mark.fault(40)
@pytest.mark.parametrize("change", ["an attribute", "a node", "a weight", "an unknown field"])
def test_a_changed_graph_is_noticed(folder: Path, change: str) -> None:
    model = onnx.load_model(folder / "model.onnx")
    (folder / "model.json").unlink()
    if change == "an attribute":
        node = next(node for node in model.graph.node if node.op_type == "Conv")
        next(each for each in node.attribute if each.name == "pads").ints[0] += 1
    elif change == "a node":
        next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Abs"
    elif change == "a weight":
        weight = model.graph.initializer[0]
        weight.raw_data = bytes([weight.raw_data[0] ^ 1]) + weight.raw_data[1:]
    data = model.SerializeToString() + (b"\xfa\x3f\x01x" if change == "an unknown field" else b"")
    (folder / "model.onnx").write_bytes(data)
    with pytest.raises(Damaged, match=r"model\.onnx was altered"):
        load_file(folder / "model.onnx")


INT64_MAX = 2**63 - 1


def constant(name: str, value: object, kind: int) -> onnx.NodeProto:
    array = np.asarray(value, helper.tensor_dtype_to_np_dtype(kind))
    return helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(array))


def body(name: str = "body", **inner: onnx.NodeProto) -> onnx.GraphProto:
    """The body of a loop that never ends by itself."""
    inputs = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("again", TensorProto.BOOL, []),
    ]
    nodes = [*inner.values(), constant("still", True, TensorProto.BOOL)]
    return helper.make_graph(nodes, name, inputs, [helper.make_tensor_value_info("still", TensorProto.BOOL, [])])


def endless(kind: str) -> tuple[list[onnx.NodeProto], list[onnx.FunctionProto]]:
    """Nodes, and functions of the model's own, that would run for ever, or for longer than anybody waits."""
    count, true = constant("count", INT64_MAX, TensorProto.INT64), constant("true", True, TensorProto.BOOL)
    loop = helper.make_node("Loop", ["count", "true"], [], body=body())
    if kind == "Loop":
        return [count, true, loop], []
    if kind == "Loop in If":
        branches = {
            name: helper.make_graph(
                [loop, constant(f"{name}_", 1.0, TensorProto.FLOAT)],
                name,
                [],
                [helper.make_tensor_value_info(f"{name}_", TensorProto.FLOAT, [])],
            )
            for name in ("then_branch", "else_branch")
        }
        return [count, true, helper.make_node("If", ["true"], ["any"], **branches)], []
    if kind == "Scan":  # over an axis that is long and holds nothing
        shape = constant("shape", [INT64_MAX >> 8, 0], TensorProto.INT64)
        empty = helper.make_node("ConstantOfShape", ["shape"], ["empty"])
        row = helper.make_tensor_value_info("row", TensorProto.FLOAT, [0])
        same = helper.make_tensor_value_info("same", TensorProto.FLOAT, [0])
        step = helper.make_graph([helper.make_node("Identity", ["row"], ["same"])], "step", [row], [same])
        return [shape, empty, helper.make_node("Scan", ["empty"], ["rows"], body=step, num_scan_inputs=1)], []
    opset = [helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)]
    functions = [helper.make_function("mine", "f0", ["a"], ["b"], [helper.make_node("Abs", ["a"], ["b"])], opset)]
    for level in range(1, 60):
        calls = [
            helper.make_node(f"f{level - 1}", [one], [two], domain="mine") for one, two in (("a", "m"), ("m", "b"))
        ]
        functions.append(helper.make_function("mine", f"f{level}", ["a"], ["b"], calls, opset))
    return [helper.make_node("f59", ["images"], ["any"], domain="mine")], functions


@pytest.mark.fault(41)
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("kind", "operators"),
    [("Loop", "Loop"), ("Loop in If", "Loop"), ("Scan", "Scan"), ("functions that call each other", r"f0, f1, f10")],
)
def test_a_graph_that_runs_without_end_is_refused(folder: Path, kind: str, operators: str, tried: Tried) -> None:
    path = folder / "model.onnx"
    model = onnx.load_model(path)
    nodes, functions = endless(kind)
    model.graph.node.extend(nodes)
    model.functions.extend(functions)
    if functions:
        model.opset_import.append(helper.make_opsetid("mine", 1))
    forge_onnx(path, model, metadata_of(folder))
    (folder / "model.json").unlink()
    with pytest.raises(Damaged, match=rf"model\.onnx is refused: it may run without end, by {operators}\b.*, which"):
        load_file(path)
    tried(1, "graphs without an end, refused before they are run")


def test_a_branch_is_no_loop(folder: Path) -> None:
    """What torch.cond becomes."""
    before = load_file(folder / "model.onnx")
    then, other = (
        helper.make_graph(
            [helper.make_node(kind, ["before"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        )
        for kind, name in (("Identity", "then"), ("Neg", "other"))
    )
    branch = helper.make_node("If", ["true"], ["logits"], then_branch=then, else_branch=other)
    path = replace_output(folder, [constant("true", True, TensorProto.BOOL), branch])
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(load_file(path).program(images), before.program(images))


def replace_output(folder: Path, nodes: list[onnx.NodeProto]) -> Path:
    """Compute the logits ``logits`` from the former ones, ``before``."""
    path = folder / "model.onnx"
    model = onnx.load_model(path)
    content = metadata_of(folder)
    (folder / "model.json").unlink()
    next(node for node in model.graph.node if "logits" in node.output).output[0] = "before"
    model.graph.node.extend(nodes)
    return forge_onnx(path, model, content)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_scores_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    nodes = [constant("bad", value, TensorProto.FLOAT), helper.make_node("Add", ["before", "bad"], ["logits"])]
    with pytest.raises(Damaged, match=r"model\.onnx gives scores that are not finite numbers for a black image"):
        load_file(replace_output(folder, nodes))


def test_scores_of_one_image_that_are_not_finite(folder: Path, tmp_path: Path) -> None:
    """Those of a bright one alone: its logits are divided by what is left to white."""
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["top"], keepdims=0),
        constant("one", 1.0, TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "top"], ["rest"]),
        helper.make_node("Div", ["before", "rest"], ["logits"]),
    ]
    model = load_file(replace_output(folder, nodes))
    Image.new("L", (8, 8), 200).save(tmp_path / "gray.png")
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    assert len(list(classify(model, [tmp_path / "gray.png"]))) == 1
    with pytest.raises(ValueError, match=r"the model gives scores that are not finite numbers for '.*white\.png'"):
        list(classify(model, [tmp_path / "white.png"]))


def test_a_program_that_returns_too_few_rows(folder: Path, tmp_path: Path) -> None:
    """Right for the one image that it is tried on, and not for two."""
    nodes = [helper.make_node("ReduceMean", ["before", "axes"], ["logits"]), constant("axes", [0], TensorProto.INT64)]
    model = load_file(replace_output(folder, nodes[::-1]))
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        Image.new("L", (8, 8), 200).save(path)
    with pytest.raises(Damaged, match=r"returns torch\.float32 logits of shape \[1, 10\] for 2 images"):
        list(classify(model, paths))
