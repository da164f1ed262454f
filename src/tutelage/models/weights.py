"""Weights from files of any origin: read without running code in them, then loaded into a network or refused."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tutelage import storage
from tutelage.models.feature_hooks import unwrap

_NESTED = ("state_dict", "model", "model_state_dict", "net", "network")
_PREFIXES = ("module.", "_orig_mod.")
MAX_PREFIXES = 4  # of each name: networks are wrapped once or twice
_COUNTER = "num_batches_tracked"  # of a batch normalization; old files lack it, and evaluation ignores it


class WrongClasses(ValueError):
    """A network or its weights have another number of classes than expected; the message names both."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights in a model's folder, a safetensors file or a state dict of ``torch.save``, onto the CPU.

    A state dict may be nested under ``state_dict``, ``model`` or the like, and all its names may begin with the
    prefix of ``DataParallel`` or ``torch.compile``. A pickle of more than tensors is refused, and so is anything
    damaged or not finite.

    Errors: ``ValueError`` with the file's name and what is wrong with it.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "teacher.pth"
    >>> torch.save({"model": {"module.weight": torch.eye(2)}}, file)
    >>> read_weights(file)
    {'weight': tensor([[1., 0.],
            [0., 1.]])}
    """
    check_weights_path(path)
    if path.is_dir():
        if "weights.safetensors" not in storage.verify(path)["files"]:
            raise ValueError(f"{path} is not the folder of a model: its manifest lists no weights.safetensors")
        weights = storage.read_tensors(path / "weights.safetensors")
    elif path.suffix == ".safetensors":
        weights = storage.read_tensors(path)
    else:
        weights = _read_torch(path)
    if not weights:
        raise ValueError(f"{path} holds no weights")
    check_finite(weights, str(path))
    return _without_prefix(weights)


def check_weights_path(path: Path) -> None:
    """Check that weights are the folder of a finished model or a regular file: a pipe or a device might never end.

    Errors: ``ValueError``, with the names beside it that are nearest where there are no weights.

    >>> check_weights_path(Path("teachers/none.pth"))
    Traceback (most recent call last):
    ...
    ValueError: no weights at teachers/none.pth: neither a folder nor a file
    """
    if path.is_dir():
        if not storage.is_finished(path):
            raise ValueError(
                f"{path} is not a finished model of tutelage; a transformers folder is given as hf:{path}"
            )
        return
    try:
        storage.open_regular(path).close()
    except ValueError as error:
        raise ValueError(f"no weights at {path}: {error}") from None
    except (FileNotFoundError, NotADirectoryError):
        beside = [entry.name for entry in islice(path.parent.glob("*"), 1000)] if path.parent.is_dir() else []
        nearest = get_close_matches(path.name, beside, n=3, cutoff=0.5)
        advice = f"; did you mean {' or '.join(str(path.with_name(name)) for name in nearest)}?" if nearest else ""
        raise ValueError(f"no weights at {path}: neither a folder nor a file{advice}") from None
    except OSError as error:
        raise ValueError(f"no weights at {path}: {error.strerror}") from None


def fit_weights(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load weights into a network (also a compiled or wrapped one) if they fit it completely.

    Errors: ``ValueError`` with ``source`` and everything that does not fit; the network is then unchanged.

    >>> fit_weights(nn.Linear(64, 100), nn.Linear(64, 10).state_dict(), "teacher.pth")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    tutelage.models.weights.WrongClasses: teacher.pth knows 10 classes, the network 100: weight is [10, 64], not ...
    """
    network = unwrap(network)
    own = network.state_dict()
    missing = [name for name in own if name not in weights and not name.endswith(_COUNTER)]
    extra = [name for name in weights if name not in own]
    shared = [name for name in own if name in weights]
    faults = []
    if missing:
        faults.append(f"{len(missing)} of {len(own)} tensors are missing ({_few(missing)})")
    if extra:
        faults.append(f"{len(extra)} are not the network's ({_few(extra)})")
    if shapes := [name for name in shared if weights[name].shape != own[name].shape]:
        described = [f"{name} is {list(weights[name].shape)}, not {list(own[name].shape)}" for name in shapes]
        if not faults and _is_classifier(network, shapes, weights, own):
            actual, expected = len(weights[shapes[0]]), len(own[shapes[0]])
            raise WrongClasses(f"{source} knows {actual} classes, the network {expected}: {described[0]}")
        faults.append(f"{len(shapes)} have another shape ({_few(described)})")
    if kinds := [name for name in shared if weights[name].is_floating_point() != own[name].is_floating_point()]:
        described = [f"{name} is {weights[name].dtype}, not {own[name].dtype}" for name in kinds]
        faults.append(f"{len(kinds)} are of another kind ({_few(described)})")
    if faults:
        raise ValueError(f"the weights of {source} do not fit the network: {'; '.join(faults)}")
    fitted = {name: weights.get(name, value).to(value.dtype) for name, value in own.items()}
    check_finite(fitted, source)  # a float64 may be infinite in float32
    network.load_state_dict(fitted)


def check_finite(weights: Mapping[str, Tensor], source: str) -> None:
    """Check that every weight is a finite number.

    Errors: ``ValueError`` with ``source`` and, for the first such tensors, how many are not.
    """
    bad = []
    for name, value in weights.items():
        finite = (value.float() if value.itemsize == 1 else value).isfinite()  # which does not take float8
        if not finite.all():
            bad.append(f"{int((~finite).sum())} in {name}")
    if bad:
        raise ValueError(f"{source} has weights that are not finite: {_few(bad)}")


def _few(names: Iterable[str], limit: int = 3) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _is_classifier(
    network: nn.Module, names: list[str], weights: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> bool:
    """Whether only the network's last layer differs, and only in its number of outputs."""
    layers = {name.rpartition(".")[0] for name in names}
    last = list(own)[-1].rpartition(".")[0]
    counts = {(len(weights[name]), len(own[name])) for name in names if weights[name].ndim and own[name].ndim}
    return layers == {last} and len(counts) == 1 and all(weights[n].shape[1:] == own[n].shape[1:] for n in names)


def _without_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    for _ in range(MAX_PREFIXES):
        prefix = next((prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in weights)), None)
        if prefix is None:
            break
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def _read_torch(path: Path) -> dict[str, Tensor]:
    with storage.open_regular(path) as file:
        zipped = file.read(4) == b"PK\x03\x04"  # torch distinguishes its formats in the same way
    if zipped:
        _check_archive(path)
    try:
        # Mapped, so that the rest of a checkpoint (the optimizer's state) is never read into memory.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # a damaged or hostile file can raise nearly any
        # Not chained to torch's own message, which advises reading the file with its safety off.
        raise ValueError(f"{path} {_reason(error)}") from None
    return {name: _plain_copy(value, name, path) for name, value in _state_dict(content, path).items()}


def _reason(error: Exception) -> str:
    """Why torch could not read a file, without its advice."""
    text = str(error)
    named = re.search(r"GLOBAL (\S+)", text)
    if named or "TorchScript" in text:
        cause = f"its pickle asks for {named[1]}" if named else "it is a TorchScript program"
        advice = "convert it to safetensors on a machine you trust"
        return f"is refused: {cause}, and to read more than tensors would run code of the file; {advice}"
    fault = re.search(r"WeightsUnpickler error:\s*([^\n]+)", text)
    return f"cannot be read as a state dict: {fault[1] if fault else type(error).__name__}"


def _check_archive(path: Path) -> None:
    """Check what torch does not: checksums, compressed entries (a zip bomb), and duplicate entries."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            compressed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
            if compressed:
                raise ValueError(
                    f"{path} is refused: {_few(compressed)} compressed, and torch.save compresses nothing"
                )
            if len({entry.filename for entry in entries}) < len(entries):
                raise ValueError(f"{path} is refused: it has two entries of one name")
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    if broken:
        raise ValueError(f"{path} is damaged: the checksum of {broken} does not fit")


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """The mapping of names to tensors in the content of a file."""
    for _ in range(3):  # a limit, as a pickle can nest a mapping in itself
        if not isinstance(content, Mapping):
            raise ValueError(f"{path} holds a {type(content).__name__}, not a state dict")
        if content and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()):
            return dict(content)
        nested = [name for name in _NESTED if isinstance(content.get(name), Mapping)]
        if len(nested) != 1:
            break
        content = content[nested[0]]
    others = [
        f"{name!r} is a {type(part).__name__}" for name, part in content.items() if not isinstance(part, Tensor)
    ]
    problem = (
        f"several state dicts ({', '.join(nested)})"
        if len(nested) > 1
        else f"no state dict ({_few(others) or 'it is empty'})"
    )
    raise ValueError(f"{path} holds {problem}: expected names and tensors, also under one of {', '.join(_NESTED)}")


def _plain_copy(value: Tensor, name: str, path: Path) -> Tensor:
    """Copy a plain tensor into memory, after checking that the file has all of its data."""
    plain = value.layout is torch.strided and value.device.type == "cpu" and not value.is_quantized
    if not plain or value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ValueError(f"{path} is refused: {name} is not a plain tensor, or larger than its data in the file")
    return value.detach().clone(memory_format=torch.contiguous_format)
