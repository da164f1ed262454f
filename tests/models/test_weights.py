"""Weights from files of any origin: every accepted form and every refused one, without running code in the file."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tutelage import models, storage
from tutelage.models.weights import fit_weights, read_weights

WEIGHTS = {"conv.weight": torch.arange(6.0).reshape(2, 3), "norm.num_batches_tracked": torch.tensor(3)}


def same(actual: dict[str, Tensor], expected: dict[str, Tensor] = WEIGHTS) -> bool:
    return actual.keys() == expected.keys() and all(torch.equal(actual[name], expected[name]) for name in expected)


def saved(path: Path, value: Any, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def refused(path: Path, message: str) -> str:
    with pytest.raises(ValueError, match=message) as error:
        read_weights(path)
    assert str(path) in str(error.value)
    return str(error.value)


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".pth.tar"])
@pytest.mark.parametrize("zipped", [True, False])
def test_state_dicts(suffix: str, zipped: bool, tmp_path: Path) -> None:
    assert same(read_weights(saved(tmp_path / f"teacher{suffix}", WEIGHTS, zipped)))


@pytest.mark.parametrize("nesting", ["state_dict", "model", "model_state_dict", "net", "network"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.module."])
def test_nesting_and_prefixes(nesting: str, prefix: str, tmp_path: Path) -> None:
    prefixed = {prefix + name: value for name, value in WEIGHTS.items()}
    checkpoint = {nesting: prefixed, "epoch": 3, "best": 0.5, "optimizer": {"state": {0: torch.ones(2)}}}
    assert same(read_weights(saved(tmp_path / "teacher.pth", checkpoint)))
    assert same(read_weights(saved(tmp_path / "deeper.pth", {"model": checkpoint, "arch": "resnet20"})))


def test_a_prefix_that_only_some_names_have_stays(tmp_path: Path) -> None:
    weights = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert same(read_weights(saved(tmp_path / "teacher.pth", weights)), weights)


def test_parameters_and_views_come_as_tensors_of_their_own(tmp_path: Path) -> None:
    base = torch.arange(12.0)
    weights = {"a": nn.Parameter(base[2:4]), "b": base.reshape(3, 4).t()}
    actual = read_weights(saved(tmp_path / "teacher.pth", weights))
    assert same(actual, {name: value.detach() for name, value in weights.items()})
    assert not actual["a"].requires_grad
    assert all(value.is_contiguous() for value in actual.values())
    assert {name: value.untyped_storage().nbytes() for name, value in actual.items()} == {"a": 8, "b": 48}


def test_safetensors(tmp_path: Path) -> None:
    file = tmp_path / "teacher.safetensors"
    file.write_bytes(storage.tensor_bytes({f"module.{name}": value for name, value in WEIGHTS.items()}))
    assert same(read_weights(file))


def test_a_model_folder_is_verified(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    storage.commit(folder, {"weights.safetensors": storage.tensor_bytes(WEIGHTS)})
    assert same(read_weights(folder))
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(content)
    refused(folder, r"weights\.safetensors has SHA-256")
    (folder / storage.MANIFEST).unlink()
    refused(folder, "is not a finished model of tutelage; a transformers folder is given as hf:")
    storage.commit(tmp_path / "other", {"note.txt": b"hello"})
    refused(tmp_path / "other", r"its manifest lists no weights\.safetensors")


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8),
        st.tuples(
            st.lists(st.integers(0, 3), max_size=3),
            st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_is_saved_is_read_back(tmp_path_factory: pytest.TempPathFactory, described: Any) -> None:
    folder = tmp_path_factory.mktemp("weights")
    weights = {name: torch.randn(shape).to(dtype) for name, (shape, dtype) in described.items()}
    if any(name.startswith(("module.", "_orig_mod.")) for name in weights):
        return
    (folder / "a.safetensors").write_bytes(storage.tensor_bytes(weights))
    for path in (folder / "a.safetensors", saved(folder / "a.pt", weights), saved(folder / "b.pt", weights, False)):
        actual = read_weights(path)
        assert same(actual, weights)
        assert {name: value.dtype for name, value in actual.items()} == {n: v.dtype for n, v in weights.items()}


# ---------------------------------------------------------------- what would run code


class Call:
    """A pickle that calls a function when it is read."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def payloads(marker: Path) -> dict[str, Any]:
    touch = f"touch {marker}"
    inner = io.BytesIO()
    torch.save(Call(os.system, touch), inner)
    return {
        "system": Call(os.system, touch),
        "eval": Call(eval, f"open({str(marker)!r}, 'w')"),
        "nested": Call(torch.storage._load_from_bytes, inner.getvalue()),
        "pickled": Call(pickle.loads, pickle.dumps(Call(os.system, touch))),
        "module": nn.Linear(2, 2),
    }


@pytest.mark.fault(28)
@pytest.mark.parametrize("payload", payloads(Path()))
@pytest.mark.parametrize("place", ["alone", "value", "beside", "key"])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_nothing_in_a_file_is_run(payload: str, place: str, zipped: bool, suffix: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    evil = payloads(marker)[payload]
    value = {
        "alone": evil,
        "value": {**WEIGHTS, "bias": evil},
        "beside": {"state_dict": WEIGHTS, "args": evil},
        "key": {"state_dict": {evil: torch.ones(1)}},
    }[place]
    file = saved(tmp_path / f"teacher{suffix}", value, zipped)
    if suffix == ".pt":
        message = refused(file, "is refused: its pickle asks for .*, and to read more than tensors would run code")
        assert message.endswith("convert it to safetensors on a machine you trust")
    else:
        refused(file, "is not weights|not a readable safetensors file")
    assert not marker.exists()


@pytest.mark.fault(28)
def test_the_payloads_are_live(tmp_path: Path) -> None:
    """Otherwise the test above would show nothing."""
    for name, payload in payloads(tmp_path / "marker").items():
        if name != "module":
            opened = pickle.loads(pickle.dumps(payload))
            if hasattr(opened, "close"):
                opened.close()
            assert (tmp_path / "marker").exists(), name
            (tmp_path / "marker").unlink()


@pytest.mark.fault(28)
def test_values_that_only_a_full_unpickle_reads(tmp_path: Path) -> None:
    checkpoint = {"state_dict": WEIGHTS, "best": np.float64(0.5)}
    refused(saved(tmp_path / "teacher.pth", checkpoint), r"its pickle asks for numpy\._core\.multiarray\.scalar")


# ---------------------------------------------------------------- damaged and absurd files


def test_what_is_no_file_of_weights(tmp_path: Path) -> None:
    refused(tmp_path / "missing.pt", "no weights at .*: neither a folder nor a file")
    for name, content in {"empty": b"", "text": b"hello", "zip": b"PK\x03\x04" + bytes(50)}.items():
        for suffix in (".pt", ".safetensors"):
            (tmp_path / f"{name}{suffix}").write_bytes(content)
            refused(
                tmp_path / f"{name}{suffix}",
                "cannot be read as a state dict|is damaged|is not weights|not a readable",
            )


def test_every_flipped_bit_and_every_cut_of_an_archive_is_noticed_or_harmless(tmp_path: Path) -> None:
    weights = {"a": torch.randn(4, 4, generator=torch.Generator().manual_seed(0))}
    file = saved(tmp_path / "teacher.pt", weights)
    whole = file.read_bytes()
    places = torch.randint(0, 8 * len(whole), (200,), generator=torch.Generator().manual_seed(1)).tolist()
    broken = [bytes(b ^ (1 << p % 8) if i == p // 8 else b for i, b in enumerate(whole)) for p in places]
    noticed = 0
    for content in [*broken, *(whole[: len(whole) * share // 20] for share in range(20))]:
        file.write_bytes(content)
        try:
            assert same(read_weights(file), weights)  # a bit of padding, or of a date
        except ValueError:
            noticed += 1
    assert noticed > 50


def test_a_flipped_bit_in_the_data_is_noticed(tmp_path: Path) -> None:
    file = saved(tmp_path / "teacher.pt", {"a": torch.full((64,), 1.5)})
    whole = file.read_bytes()
    file.write_bytes(whole.replace(struct.pack("<f", 1.5), struct.pack("<f", 1.25), 1))
    refused(file, "is damaged: the checksum of .* does not fit")


@pytest.mark.fault(27)
def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path / "teacher.pt", {"a": torch.zeros(10)})
    bomb = tmp_path / "bomb.pt"
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
    refused(bomb, "compressed, and torch.save compresses nothing")


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_an_archive_with_two_entries_of_one_name_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path / "teacher.pt", WEIGHTS)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(archive.namelist()[0], b"")
    refused(file, "two entries of one name")


@pytest.mark.fault(27, 29)
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_larger_than_their_data_or_not_plain_are_refused(zipped: bool, tmp_path: Path) -> None:
    strange = {
        "expanded": torch.zeros(1).expand(10**14),
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.eye(2, device="meta"),
    }
    for name, value in strange.items():
        refused(
            saved(tmp_path / f"{name}.pt", {"odd": value}, zipped),
            "odd is not a plain tensor, or larger than its data",
        )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([torch.ones(1)], "holds a list, not a state dict"),
        ({}, "holds no state dict .it is empty."),
        (
            {"epoch": 3, "weights": {"a": torch.ones(1)}},
            "no state dict .'epoch' is a int, 'weights' is a dict.: expected",
        ),
        ({"a": torch.ones(1), "extra": 3}, "no state dict .'extra' is a int."),
        ({0: torch.ones(1)}, "no state dict"),
        ({"model": WEIGHTS, "state_dict": WEIGHTS}, "several state dicts .state_dict, model."),
    ],
)
def test_what_is_not_a_state_dict(value: Any, message: str, tmp_path: Path) -> None:
    refused(saved(tmp_path / "teacher.pt", value), message)


@pytest.mark.fault(29)
def test_a_mapping_nested_in_itself(tmp_path: Path) -> None:
    endless: dict[str, Any] = {}
    endless["model"] = endless
    refused(saved(tmp_path / "teacher.pt", endless), "no state dict")


@pytest.mark.fault(21)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite(bad: float, tmp_path: Path) -> None:
    weights = {"fine": torch.ones(2), "bad": torch.tensor([1.0, bad, bad]), "count": torch.tensor(1)}
    (tmp_path / "teacher.safetensors").write_bytes(storage.tensor_bytes(weights))
    for file in (tmp_path / "teacher.safetensors", saved(tmp_path / "teacher.pt", weights)):
        refused(file, "has weights that are not finite: 2 in bad$")


def header(content: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
TWICE = json.dumps(ONE).encode()


@pytest.mark.fault(29)
@pytest.mark.parametrize(
    "content",
    [
        header(b"{}", length=2**63),
        lambda: header({f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(200_000)}),
        header({"a": ONE, "b": ONE}, bytes(4)),
        header({"a": ONE | {"shape": [-1]}}, bytes(4)),
        header({"a": ONE | {"shape": [2]}}, bytes(4)),
        header({"a": ONE | {"shape": [2**40, 2**40]}}, bytes(4)),
        header({"a": ONE | {"data_offsets": [4, 0]}}, bytes(4)),
        header({"a": ONE | {"dtype": "F4", "shape": [8]}}, bytes(4)),
        header({"a": ONE}, bytes(8)),
        header({"a": ONE}, bytes(2)),
        header(b'{"a":' + TWICE + b',"a":' + TWICE + b"}", bytes(4)),
        header(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        header([]),
        header(b"\xff"),
        header({}),
    ],
    ids=[
        *(
            "length 2^63",
            "200,000 tensors",
            "overlap",
            "negative",
            "too small",
            "too large",
            "backwards",
            "no such type",
        ),
        *("more data", "less data", "name twice", "deep", "no mapping", "no text", "nothing"),
    ],
)
def test_absurd_safetensors_are_refused_at_once(content: bytes | Callable[[], bytes], tmp_path: Path) -> None:
    file = tmp_path / "teacher.safetensors"
    file.write_bytes(content() if callable(content) else content)
    began = time.process_time()
    refused(file, "is not weights|not a readable safetensors file|holds no weights")
    assert time.process_time() - began < 1


# ---------------------------------------------------------------- fitting


def network(num_classes: int = 5) -> nn.Module:
    return models.resnet8(num_classes=num_classes, in_channels=1)


def fits_not(net: nn.Module, weights: dict[str, Tensor], message: str) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        fit_weights(net, weights, "teacher.pth")
    assert same(net.state_dict(), before)


@pytest.mark.parametrize("wrap", [lambda net: net, nn.DataParallel, lambda net: torch.compile(net, backend="eager")])
def test_weights_that_fit_are_loaded(wrap: Callable[[nn.Module], nn.Module]) -> None:
    teacher, student = network(), network()
    fit_weights(wrap(student), teacher.state_dict(), "teacher.pth")
    assert same(student.state_dict(), teacher.state_dict())
    halves = {
        name: value.half() if value.is_floating_point() else value for name, value in teacher.state_dict().items()
    }
    fit_weights(student, halves, "teacher.pth")
    assert same(
        student.state_dict(), {name: halves[name].to(value.dtype) for name, value in student.state_dict().items()}
    )


def test_counters_that_old_files_lack_are_not_missed() -> None:
    teacher, student = network(), network()
    weights = {name: v for name, v in teacher.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert len(weights) < len(teacher.state_dict())
    fit_weights(student, weights, "teacher.pth")
    assert same({name: student.state_dict()[name] for name in weights}, weights)


@pytest.mark.fault(32)
def test_another_number_of_classes_names_both() -> None:
    message = r"teacher\.pth knows 100 classes, the network 5: classifier\.weight is \[100, 64\], not \[5, 64\]"
    fits_not(network(5), network(100).state_dict(), message)
    fits_not(network(5), network(1).state_dict(), "knows 1 classes, the network 5")
    # Another width is not another number of classes.
    message = (
        r"3 have another shape \(0\.weight is \[3, 2\], not \[4, 2\], 0\.bias is .* and 1 more|3 have another shape"
    )
    fits_not(
        nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 5)),
        nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 5)).state_dict(),
        message,
    )


def test_everything_that_does_not_fit_is_named_in_one_error() -> None:
    net = network()
    weights = dict(net.state_dict())
    del weights["classifier.bias"]
    weights |= {f"extra{i}": torch.ones(1) for i in range(5)}
    weights["classifier.weight"] = torch.ones(3, 3)
    weights["stem.norm.weight"] = weights["stem.norm.weight"].long()
    message = (
        r"the weights of teacher\.pth do not fit the network: "
        rf"1 of {len(net.state_dict())} tensors are missing \(classifier\.bias\); "
        r"5 are not the network's \(extra0, extra1, extra2 and 2 more\); "
        r"1 have another shape \(classifier\.weight is \[3, 3\], not \[5, 64\]\); "
        r"1 are of another kind \(stem\.norm\.weight is torch\.int64, not torch\.float32\)$"
    )
    fits_not(net, weights, message)


@pytest.mark.fault(21)
def test_weights_that_overflow_in_the_network_are_refused() -> None:
    weights = dict(nn.Linear(2, 2).double().state_dict())
    weights["bias"] = torch.tensor([0.0, 1e300], dtype=torch.float64)
    fits_not(nn.Linear(2, 2), weights, r"teacher\.pth has weights that are not finite: 1 in bias")
