"""Networks of other packages: ``timm:NAME``, and ``hf:NAME`` for the image classifiers of transformers.

``timm:NAME`` is one of timm's architectures, with random weights. ``hf:NAME`` is

- a model type such as ``hf:resnet`` or ``hf:vit``: that architecture in its default configuration, random weights;
- a ``config.json`` of such an architecture: random weights;
- a folder with ``config.json`` and safetensors, or the name of a model on the hub that has been downloaded before
  (``hf download NAME``): with its weights.

Nothing is downloaded here, no code of a model's folder is run, and no pickle is read.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.config import unknown
from tutelage.models.weights import check_finite

_EXTRAS = {"timm": "vision", "transformers": "hf"}
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The images a network was made for: their size (None: any), mean and std by channel of pixels from 0 to 1.

    ``class_names`` are those its weights were trained with, where it knows them.
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
    """Find what a name stands for: a function of ``num_classes`` and ``in_channels`` that builds the network.

    Errors: ``ValueError`` for a name that does not exist, and for a package that is not installed, with the way to
    install it.
    """
    kind, _, rest = name.partition(":")
    if kind == "timm":
        _timm(rest)
    else:
        _hf_config(rest)
    return functools.partial(build_external, name)


def build_external(name: str, num_classes: int, in_channels: int) -> nn.Module:
    """Build a network of another package that gives logits ``[B, num_classes]`` for images ``[B, in_channels, H, W]``.

    Its modules and its state dict keep the names they have in that package.

    Errors: ``ValueError`` for what :func:`constructor` refuses, for weights of another class or channel count, for
    weights that are missing, left over or not finite.
    """
    kind, _, rest = name.partition(":")
    network: nn.Module
    if kind == "timm":
        network = _timm(rest).create_model(rest, pretrained=False, num_classes=num_classes, in_chans=in_channels)
        return network
    config, folder = _hf_config(rest)
    found = {"classes": config.num_labels, "channels": getattr(config, "num_channels", 3)}
    wanted = {"classes": num_classes, "channels": in_channels}
    if folder is not None and found != wanted:
        raise ValueError(
            f"{name!r} was trained for {found['classes']} classes and {found['channels']} channels; "
            f"the data has {num_classes} classes and {in_channels} channels"
        )
    if in_channels != found["channels"] and not hasattr(config, "num_channels"):
        raise ValueError(f"{name!r} takes images of {found['channels']} channels, and the data has {in_channels}")
    config.num_labels = num_classes
    if hasattr(config, "num_channels"):
        config.num_channels = in_channels
    return _logits_only(_hf_network(name, config, folder))


def expectation(name: str, in_channels: int = 3) -> Expectation | None:
    """What images a network of another package was made for; None for any other network.

    timm says so in the architecture's pretrained configuration, a transformers folder in ``preprocessor_config.json``,
    an architecture of transformers by its ``image_size``, with the mean and std of ImageNet. Images of another number
    of channels than these statistics get their average in each.

    Errors: as :func:`constructor`; ``ValueError`` for images that are not square.

    >>> expectation("resnet20") is None
    True
    """
    if not is_external(name):
        return None
    kind, _, rest = name.partition(":")
    names: tuple[str, ...] | None = None
    size: int | None
    if kind == "timm":
        made_for = _timm(rest).get_pretrained_cfg(rest)
        size, mean, std = _square(made_for.input_size[1:], name), made_for.mean, made_for.std
    else:
        config, folder = _hf_config(rest)
        size, (mean, std) = _square(getattr(config, "image_size", None), name), _IMAGENET
        if folder is not None and (folder / "preprocessor_config.json").is_file():
            size, mean, std = _preprocessing(folder / "preprocessor_config.json", name, size)
        labels = [config.id2label[key] for key in sorted(config.id2label)]
        if folder is not None and labels != [f"LABEL_{i}" for i in range(len(labels))]:
            names = tuple(labels)
    if len(mean) != in_channels:
        mean, std = ((sum(values) / len(values),) * in_channels for values in (mean, std))
    return Expectation(size=size, mean=tuple(mean), std=tuple(std), class_names=names)


def source(name: str) -> str:
    """What identifies a network of another package beside its name: the SHA-256 of its files, else the version.

    Errors: as :func:`constructor`.
    """
    kind, _, rest = name.partition(":")
    if kind == "timm":
        return f"timm {_timm(rest).__version__}"
    version = f"transformers {_package('transformers').__version__}"
    place = _hf_place(rest)
    if place is None:
        return version
    files = [place] if place.is_file() else sorted([*place.glob("*.json"), *place.glob("*.safetensors")])
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            digest.update(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{name} networks need {error.name}, which is not installed: pip install 'tutelage[{_EXTRAS[name]}]'"
        ) from None
    except (ImportError, RuntimeError, AttributeError) as error:  # torchvision of another build than torch
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{name} is installed, but cannot be imported here ({reason}): torch and torchvision must be of one build, "
            f"as pip install 'tutelage[{_EXTRAS[name]}]' into a fresh environment gives them"
        ) from error


def _timm(name: str) -> Any:
    timm = _package("timm")
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        advice = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() has them all"
        raise ValueError(f"unknown timm model {name!r}: {advice}")
    return timm


def _hf_types() -> list[str]:
    """The model types of transformers that classify images."""
    _package("transformers")
    home = importlib.import_module("transformers.models.auto.modeling_auto")
    return list(home.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES)


def _hf_place(name: str) -> Path | None:
    """The folder or ``config.json`` a name stands for; None for a model type."""
    place = Path(name)
    if name in _hf_types():
        return None
    if place.is_dir() or (place.suffix == ".json" and place.is_file()):
        return place
    if "/" not in name or place.suffix == ".json":
        hint = "a folder, a config.json and OWNER/NAME of the hub work too"
        raise unknown("transformers model", name, _hf_types(), hint)
    hub = importlib.import_module("huggingface_hub")
    try:
        return Path(hub.snapshot_download(name, local_files_only=True))
    except (OSError, ValueError):  # not downloaded; not a name the hub can have
        raise ValueError(
            f"'hf:{name}' is neither a folder here nor a model of the hub that has been downloaded: "
            f"for the latter, first run: hf download {name}"
        ) from None


def _hf_config(name: str) -> tuple[Any, Path | None]:
    """The configuration of a transformers network, and the folder with its weights where it has some."""
    place = _hf_place(name)
    auto = _package("transformers").AutoConfig
    if place is None:
        return auto.for_model(name), None
    try:
        config = auto.from_pretrained(str(place), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"'hf:{name}' has no configuration that transformers can read: {_line(error)}") from error
    if config.model_type not in _hf_types():
        raise unknown(f"image classifier in 'hf:{name}', model type", config.model_type, _hf_types())
    return config, place if place.is_dir() else None


def _hf_network(name: str, config: Any, folder: Path | None) -> nn.Module:
    auto = _package("transformers").AutoModelForImageClassification
    network: nn.Module
    try:
        if folder is None:
            network = auto.from_config(config, trust_remote_code=False)
            return network.float()
        with _quiet():
            network, loaded = auto.from_pretrained(
                str(folder),
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ImportError, ValueError, TypeError, RuntimeError) as error:
        pickled = folder is not None and not any(folder.glob("*.safetensors"))
        hint = "; the weights must be safetensors: convert others on a machine you trust" if pickled else ""
        raise ValueError(f"transformers cannot build {name!r}: {_line(error)}{hint}") from error
    for fault, words in (("missing_keys", "lack"), ("unexpected_keys", "have, beside what the network needs,")):
        if loaded[fault]:
            raise ValueError(f"the weights of {name!r} {words} {', '.join(sorted(loaded[fault])[:5])}")
    check_finite(network.state_dict(), name)
    return network


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bar, which is for those who wait for its downloads."""
    logging = importlib.import_module("transformers.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _logits_only(network: nn.Module) -> nn.Module:
    """Make a transformers network answer pixels with logits.

    A subclass, not a wrapper: the names of modules and weights stay those that its users know.
    """
    kind: Any = type(network)

    def forward(self: nn.Module, pixels: Tensor) -> Tensor:
        logits: Tensor = kind.forward(self, pixel_values=pixels, return_dict=True).logits
        return logits

    network.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": __name__})
    return network


def _preprocessing(file: Path, name: str, size: int | None) -> tuple[int | None, list[float], list[float]]:
    """Size, mean and std as ``preprocessor_config.json`` has them, the latter two of pixels from 0 to 1."""
    try:
        found = json.loads(file.read_bytes())
        if found.get("do_center_crop") and "crop_size" in found:
            size = _square(found["crop_size"], name)
        elif found.get("do_resize", True) and "size" in found:
            size = _square(found["size"], name)
        # The network sees (factor * pixel - mean) / std of pixels from 0 to 255.
        white = 255 * (found.get("rescale_factor", 1 / 255) if found.get("do_rescale", True) else 1.0)
        normalized = found.get("do_normalize", True)
        mean = found.get("image_mean", _IMAGENET[0]) if normalized else [0.0] * 3
        std = found.get("image_std", _IMAGENET[1]) if normalized else [1.0] * 3
        return size, [value / white for value in mean], [value / white for value in std]
    except (OSError, KeyError, TypeError, AttributeError, ZeroDivisionError, json.JSONDecodeError) as error:
        raise ValueError(f"{file} does not say how images are prepared: {type(error).__name__} {error}") from None


def _square(size: Any, name: str) -> int | None:
    """One side of a square, from the ways there are to write one."""
    match size:
        case None | int():
            return size
        case {"height": int(height), "width": int(width)} | [int(height), int(width)] if height == width:
            return height
        case {"shortest_edge": int(edge)}:
            return edge
    raise ValueError(f"{name!r} wants images of size {size}, and only square ones can be made")


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
