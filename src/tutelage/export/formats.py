"""A deployed network as the bytes of each format, with its contract inside."""

from __future__ import annotations

import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch.export import Dim, ExportedProgram

from tutelage.artifacts.metadata import KEY, Contract
from tutelage.export.network import Deployed

Format = Literal["safetensors", "torch", "onnx"]
FILES: dict[Format, str] = {"safetensors": "weights.safetensors", "torch": "model.pt2", "onnx": "model.onnx"}


def optional(package: str, extra: str, purpose: str) -> Any:
    """Import a package that an extra brings.

    Errors: ``ValueError`` that names the extra.

    >>> optional("no_such_package", "export", "reading ONNX")
    Traceback (most recent call last):
    ...
    ValueError: reading ONNX needs the package no_such_package: pip install 'tutelage[export]'
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        raise ValueError(f"{purpose} needs the package {package}: pip install 'tutelage[{extra}]'") from None


def check_packages(formats: tuple[Format, ...]) -> None:
    """Make sure that the packages these formats need are there, before any work is done.

    Errors: ``ValueError`` that names the extra.
    """
    for package in ("onnx", "onnxscript", "onnxruntime") if "onnx" in formats else ():
        optional(package, "export", "writing ONNX")


def to_bytes(deployed: Deployed, contract: Contract, formats: tuple[Format, ...]) -> dict[Format, bytes]:
    """The bytes of each format; the traced program is made once, for both that hold one.

    Errors: ``ValueError`` for a network that cannot be traced or converted.
    """
    written: dict[Format, bytes] = {}
    if "safetensors" in formats:
        written["safetensors"] = _safetensors(deployed, contract)
    if "torch" in formats or "onnx" in formats:
        with _no_failure_but("traced for any number of images", contract):
            program = _traced(deployed, contract)
        if "onnx" in formats:
            with _no_failure_but("converted to ONNX", contract):
                written["onnx"] = _onnx(program, contract)
        if "torch" in formats:
            written["torch"] = _torch(program, contract)
    return written


def _safetensors(deployed: Deployed, contract: Contract) -> bytes:
    from safetensors.torch import save

    weights = {name: tensor.contiguous().clone() for name, tensor in deployed.network.state_dict().items()}
    return bytes(save(weights, metadata={KEY: contract.text()}))


def _example(contract: Contract) -> torch.Tensor:
    return torch.zeros(2, contract.channels, contract.height, contract.width)


def _traced(deployed: Deployed, contract: Contract) -> ExportedProgram:
    program = torch.export.export(deployed, (_example(contract),), dynamic_shapes={"images": {0: Dim("batch")}})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it would carry the paths of this machine to whoever gets the file
    return program


def _torch(program: ExportedProgram, contract: Contract) -> bytes:
    program.example_inputs = None  # they would be pickled; the weights are raw bytes and the graph is JSON
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={f"{KEY}.json": contract.text()})
    return file.getvalue()


def _onnx(program: ExportedProgram, contract: Contract) -> bytes:
    with _quiet_converter():
        converted = torch.onnx.export(
            program,
            args=(_example(contract),),
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: "batch"}},
            verbose=False,
        )
    assert converted is not None
    model = converted.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, contract.text()
    return bytes(model.SerializeToString())


@contextmanager
def _quiet_converter() -> Iterator[None]:
    """Without the converter's remarks on torchvision, which is not used, and on torch's own deprecations."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".isinstance\(treespec, LeafSpec\)", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _no_failure_but(what: str, contract: Contract) -> Iterator[None]:
    """Turn whatever torch raises about a network it cannot handle into one line."""
    try:
        yield
    except Exception as error:  # torch has a dozen kinds, most of them private
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ValueError(
            f"model {contract.model!r} cannot be {what}: {reason.strip()[:300]}; --format safetensors does without"
        ) from error
