"""Networks of other packages: ``timm:NAME``, and ``hf:NAME`` for the image classifiers of transformers.

``timm:NAME`` is one of timm's architectures, with random weights. ``hf:NAME`` is

- a model type such as ``hf:resnet`` or ``hf:vit``: that architecture in its default configuration, random weights;
- a ``config.json`` of such an architecture: random weights;
- a folder with ``config.json`` and safetensors, or a model of the hub that is already downloaded
  (``hf download OWNER/NAME``): with its weights.

Nothing is downloaded here, no code in a model's folder is run, and no pickle is read.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torch import nn

from tutelage import storage
from tutelage.models import _transformers as hf

_EXTRAS = {"timm": "vision", "transformers": "hf"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The images that a network expects: size (None for any), mean and std by channel of pixels from 0 to 1.

    ``class_names`` are the classes its weights were trained with, if known.
    """

    size: int | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...] | None = None


def is_external(name: str) -> bool:
    """Whether a model's name stands for a network of another package.

    >>> is_external("hf:resnet"), is_external("resnet20"), is_external("package.module:function")
    (True, False, False)
    """
    return name.startswith(("timm:", "hf:"))


def constructor(name: str) -> Callable[..., nn.Module]:
    """The function of ``num_classes`` and ``in_channels`` that builds the network of this name.

    Errors: ``ValueError`` for a name that does not exist, and for a package that is not installed, with the command
    that installs it.
    """
    package, rest = _open(name)
    if package.__name__ == "transformers":
        hf.configuration(rest)
    return functools.partial(build_external, name)


def build_external(name: str, num_classes: int, in_channels: int) -> nn.Module:
    """Build a network of another package: images ``[B, in_channels, H, W]`` to logits ``[B, num_classes]``.

    Its modules and its state dict keep the names they have in that package.

    Errors: ``ValueError`` as :func:`constructor`, and for weights with another number of classes or channels, or that
    are missing, unexpected or not finite.
    """
    package, rest = _open(name)
    network: nn.Module
    if package.__name__ == "timm":
        network = package.create_model(rest, pretrained=False, num_classes=num_classes, in_chans=in_channels)
        return network
    config, folder = hf.configuration(rest)
    channels = getattr(config, "num_channels", 3)
    if folder is not None and (config.num_labels, channels) != (num_classes, in_channels):
        raise ValueError(
            f"{name!r} was trained for {config.num_labels} classes and {channels} channels; "
            f"the data has {num_classes} classes and {in_channels} channels"
        )
    if hasattr(config, "num_channels"):
        config.num_channels = in_channels
    elif channels != in_channels:
        raise ValueError(f"{name!r} takes images of {channels} channels, the data has {in_channels}")
    config.num_labels = num_classes
    return hf.logits_only(hf.network_of(name, config, folder))


def expectation(name: str, in_channels: int = 3) -> Expectation | None:
    """The images that a network of another package expects; None for any other network.

    timm has them in an architecture's pretrained configuration; transformers in a folder's
    ``preprocessor_config.json``, otherwise in the configuration's ``image_size``, with the mean and std of ImageNet.
    If the number of channels differs, each channel gets the average of these.

    Errors: as :func:`constructor`; ``ValueError`` for images that are not square.

    >>> expectation("resnet20") is None
    True
    """
    if not is_external(name):
        return None
    package, rest = _open(name)
    names: tuple[str, ...] | None = None
    if package.__name__ == "timm":
        pretrained = package.get_pretrained_cfg(rest)
        size, mean, std = hf.square(list(pretrained.input_size[1:]), name), pretrained.mean, pretrained.std
    else:
        config, folder = hf.configuration(rest)
        size, mean, std = hf.images(config, folder, name)
        labels = tuple(config.id2label[key] for key in sorted(config.id2label))
        if folder is not None and labels != tuple(f"LABEL_{i}" for i in range(len(labels))):
            names = labels
    if len(mean) != in_channels:
        mean = [sum(mean) / len(mean)] * in_channels
        std = [sum(std) / len(std)] * in_channels
    return Expectation(size=size, mean=tuple(mean), std=tuple(std), class_names=names)


def source(name: str) -> str:
    """The version of a network of another package: the SHA-256 of its files, or the package's version if it has none.

    Errors: as :func:`constructor`.
    """
    package, rest = _open(name)
    place = hf.place_of(rest) if package.__name__ == "transformers" else None
    if place is None:
        return f"{package.__name__} {package.__version__}"
    digest = hashlib.sha256()
    for file in [place] if place.is_file() else sorted([*place.glob("*.json"), *place.glob("*.safetensors")]):
        with storage.open_regular(file) as content:
            digest.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _open(name: str) -> tuple[Any, str]:
    """Import the package of a name; return it with the rest of the name, which is checked only for timm."""
    prefix, _, rest = name.partition(":")
    package = "timm" if prefix == "timm" else "transformers"
    how = f"pip install 'tutelage[{_EXTRAS[package]}]'"
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ValueError(f"{name!r} needs the package {error.name}, which is not installed: {how}") from None
    except (ImportError, RuntimeError, AttributeError) as error:  # torchvision and torch of different builds
        raise ValueError(
            f"{name!r} needs {package}, which is installed but cannot be imported ({hf.line(error)}): torch and "
            f"torchvision must be of the same build; {how} in a fresh environment installs matching ones"
        ) from error
    if package == "timm" and not module.is_model(rest):
        near = get_close_matches(rest, module.list_models(), n=3, cutoff=0.5)
        advice = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() has them all"
        raise ValueError(f"unknown timm model {rest!r}: {advice}")
    return module, rest
