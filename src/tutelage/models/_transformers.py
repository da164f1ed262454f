"""The image classifiers of transformers: look them up, build them, read which images they expect."""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from tutelage import storage
from tutelage.errors import unknown
from tutelage.models.weights import check_finite
from tutelage.validation import parse_json

IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def types() -> list[str]:
    """The model types of transformers that classify images."""
    home = importlib.import_module("transformers.models.auto.modeling_auto")
    return list(home.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES)


def place_of(name: str) -> Path | None:
    """The folder or ``config.json`` that a name stands for; None for a model type."""
    place = Path(name)
    if name in types():
        return None
    if place.is_dir():
        for file in (*place.glob("*.json"), *place.glob("*.safetensors")):
            storage.open_regular(file).close()  # transformers would wait for a pipe
        return place
    if place.suffix == ".json" and place.is_file():
        return place
    if "/" not in name or place.suffix == ".json":
        hint = "a folder, a config.json and OWNER/NAME of the hub work too"
        raise unknown("transformers model", name, types(), hint)
    hub = importlib.import_module("huggingface_hub")
    try:
        return Path(hub.snapshot_download(name, local_files_only=True))
    except (OSError, ValueError):  # not downloaded, or not a valid name for the hub
        raise ValueError(
            f"'hf:{name}' is neither a folder here nor a model of the hub that has been downloaded: "
            f"for the latter, first run: hf download {name}"
        ) from None


def configuration(name: str) -> tuple[Any, Path | None]:
    """The configuration of a transformers network, and the folder with its weights, if any."""
    place = place_of(name)
    auto = importlib.import_module("transformers").AutoConfig
    if place is None:
        return auto.for_model(name), None
    try:
        config = auto.from_pretrained(str(place), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"'hf:{name}' has no configuration that transformers can read: {line(error)}") from error
    if config.model_type not in types():
        raise unknown(f"image classifier in 'hf:{name}', model type", config.model_type, types())
    return config, place if place.is_dir() else None


def network_of(name: str, config: Any, folder: Path | None) -> nn.Module:
    """Build the network of a configuration, with the weights of its folder, if any.

    Errors: ``ValueError`` for weights that are not safetensors, missing, unexpected or not finite.
    """
    auto = importlib.import_module("transformers").AutoModelForImageClassification
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
    except (OSError, ImportError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        pickled = folder is not None and not any(folder.glob("*.safetensors"))
        hint = "; the weights must be safetensors: convert others on a machine you trust" if pickled else ""
        raise ValueError(f"transformers cannot build {name!r}: {line(error)}{hint}") from error
    for fault, verb in (("missing_keys", "lack"), ("unexpected_keys", "have, beside what the network needs,")):
        if loaded[fault]:
            raise ValueError(f"the weights of {name!r} {verb} {', '.join(sorted(loaded[fault])[:5])}")
    check_finite(network.state_dict(), name)
    return network


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' progress bar, and its report on weights that do not fit, which is an error here."""
    logging = importlib.import_module("transformers.utils.logging")
    bar, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def logits_only(network: nn.Module) -> nn.Module:
    """Make a transformers network take pixels and return logits.

    A subclass rather than a wrapper, so that modules and weights have the names that its users know.
    """
    kind: Any = type(network)

    def forward(self: nn.Module, pixels: Tensor) -> Tensor:
        logits: Tensor = kind.forward(self, pixel_values=pixels, return_dict=True).logits
        return logits

    network.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": __name__})
    return network


def images(config: Any, folder: Path | None, name: str) -> tuple[int | None, list[float], list[float]]:
    """The size, mean and std of the images a network expects; mean and std for pixels from 0 to 1."""
    size = square(getattr(config, "image_size", None), name)
    file = None if folder is None else folder / "preprocessor_config.json"
    if file is None or not file.exists():
        return size, *IMAGENET
    try:
        settings = parse_json(storage.read_regular(file), "it")
    except (ValueError, OSError) as error:
        raise ValueError(f"{file} does not say how images are prepared: {line(error)}") from None
    try:
        if settings.get("do_center_crop") and "crop_size" in settings:
            size = square(settings["crop_size"], name)
        elif settings.get("do_resize", True) and "size" in settings:
            size = square(settings["size"], name)
        # The network gets (factor * pixel - mean) / std for pixels from 0 to 255.
        white = 255 * (settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1.0)
        normalized = settings.get("do_normalize", True)
        mean = settings.get("image_mean", IMAGENET[0]) if normalized else [0.0] * 3
        std = settings.get("image_std", IMAGENET[1]) if normalized else [1.0] * 3
        if len(mean) != len(std):
            raise TypeError(f"it has {len(mean)} means and {len(std)} standard deviations")
        shift, scale = [value / white for value in mean], [value / white for value in std]
        if not (all(map(math.isfinite, shift)) and all(0 < value < math.inf for value in scale)):
            raise TypeError(f"its means {mean} and standard deviations {std} make pixels that are not finite")
        return size, shift, scale
    except (TypeError, AttributeError, ZeroDivisionError) as error:
        raise ValueError(f"{file} does not say how images are prepared: {line(error)}") from None


def square(size: Any, name: str) -> int | None:
    """The side of a square, from any of the ways in which sizes are written."""
    match size:
        case None | int():
            return size
        case {"height": int(height), "width": int(width)} | [int(height), int(width)] if height == width:
            return height
        case {"shortest_edge": int(edge)}:
            return edge
    raise ValueError(f"{name!r} expects images of size {size}, and only square ones are supported")


def line(error: Exception) -> str:
    """The first line of an error's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
