"""The model card: what a model does, its results, how it was trained and how to use it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.analysis import spread
from tutelage.artifacts.metadata import ModelMetadata
from tutelage.errors import printable
from tutelage.export.find import FinishedModel
from tutelage.export.origin import card_measures

MAX_CLASSES = 100
"""The most class names that a card lists."""
_MARKDOWN_SPECIAL = frozenset("\\`*_{}[]<>#|~&$@:!.")
_COLUMNS = (("top1", "top-1, %"), ("top5", "top-5, %"), ("nll", "NLL, nats"), ("ece", "ECE"))


def license_identifier(name: str) -> str:
    """The identifier of a licence, in lower case as model hubs expect it.

    Errors: ``ValueError`` for anything that is not one word of letters, digits and ``.+-``.

    >>> license_identifier("Apache-2.0")
    'apache-2.0'
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}", name):
        raise ValueError(f"a licence is an identifier such as apache-2.0 or cc-by-4.0, not {name!r}")
    return name.lower()


def escape_markdown(text: object) -> str:
    r"""Escape untrusted text so that it reads the same, letter by letter, within a line of Markdown.

    >>> print(escape_markdown("<b>|cat_"))
    \<b\>\|cat\_
    """
    return "".join(f"\\{c}" if c in _MARKDOWN_SPECIAL else c for c in printable(str(text)))


def code_span(text: object) -> str:
    """Untrusted text as a code span of Markdown.

    >>> code_span("0.1 H(labels, student)")
    '`0.1 H(labels, student)`'
    """
    return f"`{printable(str(text)).replace('`', chr(39))}`"


def model_card(metadata: ModelMetadata, source: FinishedModel, files: Mapping[str, Any], license: str) -> str:
    """The README.md of an exported folder. All text that is not tutelage's own is escaped."""
    about = metadata.about
    blocks = [
        _front_matter(metadata, license),
        f"# {escape_markdown(metadata.model)} on {escape_markdown(about['data']['name'])}",
        _summary(metadata),
        "## Results",
        _results(about["measured"], source),
        _evaluation_protocol(about["test_set_watched"]),
        "## Input and output",
        _input_and_output(metadata),
        _classes(metadata.class_names),
        "## Training",
        _training(about),
        "## Use",
        _usage(metadata, files),
        "## Licence",
        _license(license),
        "## Files",
        "\n".join(f"- `{name}`: {file['size']:,} bytes, SHA-256 `{file['sha256']}`" for name, file in files.items()),
    ]
    return "\n\n".join(blocks) + "\n"


def _front_matter(metadata: ModelMetadata, license: str) -> str:
    """The YAML that model hubs read."""
    about = metadata.about
    data = _yaml(about["data"]["name"])
    metrics = [
        f"          - {{type: accuracy, name: {_yaml(f'{part} top-1')}, value: {measures['top1']:.6f}}}"
        for part, measures in about["measured"].items()
    ]
    lines = [
        f"license: {license_identifier(license)}",
        "library_name: tutelage",
        "pipeline_tag: image-classification",
        "tags: [image-classification, knowledge-distillation]",
        "model-index:",
        f"  - name: {_yaml(metadata.model)}",
        "    results:",
        "      - task: {type: image-classification}",
        f"        dataset: {{name: {data}, type: {data}}}",
        "        metrics:",
        *metrics,
    ]
    return "\n".join(["---", *lines, "---"])


def _yaml(text: object) -> str:
    """Untrusted text as a string of YAML, which every string of JSON is."""
    return json.dumps(printable(str(text)))


def _summary(metadata: ModelMetadata) -> str:
    return (
        f"An image classifier with {len(metadata.class_names)} classes, trained with tutelage: generation "
        f"{escape_markdown(metadata.about['generation'])} of the lineage "
        f"{escape_markdown(metadata.about['lineage'])}."
    )


def _results(measured: Mapping[str, Mapping[str, float]], source: FinishedModel) -> str:
    titles = [title for _, title in _COLUMNS]
    rows = [["set", "seeds", *titles], ["---"] * (2 + len(titles))]
    for part, measures in measured.items():
        title = escape_markdown(part)
        rows.append([title, "this model", *(_mean_std(name, [measures[name]]) for name, _ in _COLUMNS)])
        evaluations = [model.evaluation() for model in source.siblings]
        by_seed = [card_measures(evaluation[part]) for evaluation in evaluations if part in evaluation]
        if len(by_seed) > 1:
            cells = [_mean_std(name, [one_seed[name] for one_seed in by_seed]) for name, _ in _COLUMNS]
            rows.append([title, f"mean ± standard deviation of {len(by_seed)}", *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _mean_std(measure: str, values: Sequence[float]) -> str:
    scale, digits = (100, 2) if measure.startswith("top") else (1, 3)
    mean, deviation = spread([scale * value for value in values])
    return f"{mean:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _evaluation_protocol(test_set_watched: bool) -> str:
    tested = (
        "the test set was also measured after each epoch"
        if test_set_watched
        else "the test set was measured once, after training"
    )
    return f"The weights are those after the last epoch; {tested}."


def _input_and_output(metadata: ModelMetadata) -> str:
    normalization = metadata.normalization
    mean = ", ".join(f"{value:g}" for value in normalization.mean)
    std = ", ".join(f"{value:g}" for value in normalization.std)
    size = normalization.size
    resize = "" if size is None else f"resize to {size} x {size} (bilinear, antialiased), then "
    return (
        f"Input: float32 images `[N, {metadata.channels}, {metadata.height}, {metadata.width}]`, "
        f"{'gray' if metadata.channels == 1 else 'RGB'}, values from 0 to 1. "
        f"Output: logits `[N, {len(metadata.class_names)}]`.\n\n"
        f"Normalization: {resize}(image − mean) / std per channel, with mean ({mean}) and std ({std}). "
        "`model.pt2` and `model.onnx` contain it; for `weights.safetensors`, tutelage adds it when it loads the file."
    )


def _classes(names: Sequence[str]) -> str:
    more = f", and {len(names) - MAX_CLASSES} more in `model.json`" if len(names) > MAX_CLASSES else ""
    return "Classes, in the order of the logits: " + ", ".join(map(escape_markdown, names[:MAX_CLASSES])) + more + "."


def _training(about: Mapping[str, Any]) -> str:
    data = about["data"]
    versions = about["versions"]
    epochs, seed, precision = map(escape_markdown, (about["epochs"], about["seed"], about["precision"]))
    sizes = (("training", data["train_size"]), ("test", data.get("test_size")))
    images = "".join(f", {escape_markdown(size)} {kind} images" for kind, size in sizes if size is not None)
    name = escape_markdown(f"{data['name']} ({data['mark']})" if data.get("mark") else data["name"])
    teachers = [
        f"- Teacher: {escape_markdown(teacher['generation'])}, a {escape_markdown(teacher['model'])} "
        f"({code_span(teacher['address'])})."
        for teacher in about["teachers"]
    ]
    return "\n".join(
        [
            f"- Data: {name}{images}; fingerprint {code_span(data['fingerprint'][:12])}.",
            f"- Objective: {code_span(about['method'])}",
            f"- Epochs: {epochs}; seed {seed}; {precision}.",
            *(teachers or ["- Teacher: none."]),
            f"- Address: {code_span(about['address'])}; tutelage {versions['tutelage']}, torch {versions['torch']}.",
        ]
    )


def _usage(metadata: ModelMetadata, files: Mapping[str, Any]) -> str:
    shape = f"1, {metadata.channels}, {metadata.height}, {metadata.width}"
    blocks = ["```sh\ntutelage predict . photo.png\n```"]
    if "weights.safetensors" in files:
        blocks.append(
            "```python\nimport torch\nfrom pathlib import Path\nfrom tutelage.export import load_file\n\n"
            'model = load_file(Path("weights.safetensors"))\n'
            f"logits = model.program(torch.zeros({shape}))\n```"
        )
    if "model.onnx" in files:
        blocks.append(
            "```python\nimport numpy as np\nimport onnxruntime\n\n"
            'session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])\n'
            f'(logits,) = session.run(["logits"], {{"images": np.zeros(({shape}), np.float32)}})\n```'
        )
    if "model.pt2" in files:
        blocks.append(
            "Loading a `.pt2` file can run any code in it: load it only if you trust its author.\n\n"
            '```python\nimport torch\n\nprogram = torch.export.load("model.pt2").module()\n'
            f"logits = program(torch.zeros({shape}))\n```"
        )
    return "\n\n".join(blocks)


def _license(license: str) -> str:
    if license == "unknown":
        return "Not stated. Ask whoever gave you this model, and check the licence of its training data."
    return f"{license_identifier(license)}. The training data has a licence of its own."
