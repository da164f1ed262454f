"""Write a network as the bytes of each export format, with its metadata inside."""

from __future__ import annotations

import importlib
import io
import logging
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch.export import Dim, ExportedProgram

from tutelage.artifacts.metadata import KEY, ModelMetadata
from tutelage.artifacts.seal import sealed_text, tensor_parts
from tutelage.export.network import NormalizedNetwork
from tutelage.export.sealed_parts import PT2_METADATA, archive_parts, graph_parts

Format = Literal["safetensors", "torch", "onnx"]
FILE_NAMES: dict[Format, str] = {"safetensors": "weights.safetensors", "torch": "model.pt2", "onnx": "model.onnx"}


def import_optional(package: str, extra: str, purpose: str) -> Any:
    """Import a package that an extra of tutelage installs.

    Errors: ``ValueError`` that names the extra.

    >>> import_optional("no_such_package", "export", "reading ONNX")
    Traceback (most recent call last):
    ...
    ValueError: reading ONNX needs the package no_such_package: pip install 'tutelage[export]'
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        raise ValueError(f"{purpose} needs the package {package}: pip install 'tutelage[{extra}]'") from None


def check_packages(formats: tuple[Format, ...]) -> None:
    """Check, before any work is done, that the packages that these formats need are installed.

    Errors: ``ValueError`` that names the extra.
    """
    for package in ("onnx", "onnxscript", "onnxruntime") if "onnx" in formats else ():
        import_optional(package, "export", "writing ONNX")


def to_bytes(network: NormalizedNetwork, metadata: ModelMetadata, formats: tuple[Format, ...]) -> dict[Format, bytes]:
    """The bytes of each format. The network is traced once, for ``torch`` and ``onnx`` together.

    Errors: ``ValueError`` for a network that cannot be traced or converted.
    """
    contents: dict[Format, bytes] = {}
    if "safetensors" in formats:
        contents["safetensors"] = _safetensors_bytes(network, metadata)
    if "torch" in formats or "onnx" in formats:
        with _explain_failure("traced for any number of images", metadata):
            program = _trace(network, metadata)
        # ONNX first: saving the torch format takes the example inputs out of the program.
        if "onnx" in formats:
            with _explain_failure("converted to ONNX", metadata):
                contents["onnx"] = _onnx_bytes(program, metadata)
        if "torch" in formats:
            contents["torch"] = _torch_bytes(program, metadata)
    return contents


def _safetensors_bytes(network: NormalizedNetwork, metadata: ModelMetadata) -> bytes:
    from safetensors.torch import save

    # Cloned, since safetensors refuses tensors that share memory.
    weights = {name: tensor.contiguous().clone() for name, tensor in network.network.state_dict().items()}
    text = sealed_text(metadata, tensor_parts(save(weights)))
    return bytes(save(weights, metadata={KEY: text}))


def _example_images(metadata: ModelMetadata) -> torch.Tensor:
    return torch.zeros(2, metadata.channels, metadata.height, metadata.width)


def _trace(network: NormalizedNetwork, metadata: ModelMetadata) -> ExportedProgram:
    program = torch.export.export(network, (_example_images(metadata),), dynamic_shapes={"images": {0: Dim("batch")}})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it would reveal paths of this machine to everyone who gets the file
    return program


def _torch_bytes(program: ExportedProgram, metadata: ModelMetadata) -> bytes:
    # torch.export.save would pickle the example inputs; without them the file holds raw weights and a JSON graph.
    program.example_inputs = None
    file = io.BytesIO()
    torch.export.save(program, file)
    text = sealed_text(metadata, archive_parts(file.getvalue()))
    with zipfile.ZipFile(file, "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(zipfile.ZipInfo(f"{root}/{PT2_METADATA}"), text)
    return file.getvalue()


def _onnx_bytes(program: ExportedProgram, metadata: ModelMetadata) -> bytes:
    with _silence_converter():
        converted = torch.onnx.export(
            program,
            args=(_example_images(metadata),),
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: "batch"}},
            verbose=False,
        )
    assert converted is not None
    model = converted.model_proto
    text = sealed_text(metadata, graph_parts(model))
    entry = model.metadata_props.add()
    entry.key = KEY
    entry.value = text
    return bytes(model.SerializeToString())


@contextmanager
def _silence_converter() -> Iterator[None]:
    """Silence the converter's messages about torchvision, which is not used, and about torch's own deprecations."""
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
def _explain_failure(action: str, metadata: ModelMetadata) -> Iterator[None]:
    """Turn any exception that torch raises about the network into a ``ValueError`` of one line."""
    try:
        yield
    except Exception as error:  # torch raises a dozen types here, most of them private
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ValueError(
            f"model {metadata.model!r} cannot be {action}: {reason.strip()[:300]}; "
            "--format safetensors works without that"
        ) from error
