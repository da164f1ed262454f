"""The model card: what a model is, what it learnt from and how, how good it is, how it is loaded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tutelage.analysis.results import spread
from tutelage.artifacts.metadata import Contract
from tutelage.errors import printable
from tutelage.export.find import Source

SHOWN_CLASSES = 100
_MARKDOWN = frozenset("\\`*_{}[]<>#|~&$@:!.")
TITLES = {"top1": "top-1, %", "top5": "top-5, %", "nll": "NLL, nats", "ece": "ECE"}


def checked_license(name: str) -> str:
    """The identifier of a licence, as it stands in the front matter.

    Errors: ``ValueError`` for anything that is not one word of letters, digits and ``.+-``.

    >>> checked_license("Apache-2.0")
    'apache-2.0'
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}", name):
        raise ValueError(f"a licence is an identifier such as apache-2.0 or cc-by-4.0, not {name!r}")
    return name.lower()


def plain(text: object) -> str:
    r"""A text from outside as Markdown, in the middle of a line, that shows it letter by letter.

    >>> print(plain("<b>|cat_"))
    \<b\>\|cat\_
    """
    return "".join(f"\\{c}" if c in _MARKDOWN else c for c in printable(str(text)))


def code(text: object) -> str:
    """A text from outside as a code span.

    >>> code("0.1 H(labels, student)")
    '`0.1 H(labels, student)`'
    """
    return f"`{printable(str(text)).replace('`', chr(39))}`"


def card(contract: Contract, source: Source, files: Mapping[str, Any], license: str) -> str:
    """The README.md of an exported folder; every text that came from outside is escaped."""
    about = contract.about
    stated = (
        "Not stated: ask whoever gave you this model, and mind the licence of its data."
        if license == "unknown"
        else f"{checked_license(license)}. The data has its own."
    )
    blocks = [
        _front_matter(contract, license),
        f"# {plain(contract.model)} on {plain(about['data']['name'])}",
        _summary(contract),
        "## Numbers",
        _numbers(about["measured"], source),
        "The last epoch is what counts; "
        + (
            "the test set was also watched while the model was trained."
            if about["test_set_watched"]
            else "the test set was measured once, after it."
        ),
        "## Input and output",
        _input(contract),
        _classes(contract.class_names),
        "## How it was made",
        _origin(about),
        "## Use",
        _use(contract, files),
        "## Licence",
        stated,
        "## Files",
        "\n".join(f"- `{name}`: {file['size']:,} bytes, SHA-256 `{file['sha256']}`" for name, file in files.items()),
    ]
    return "\n\n".join(blocks) + "\n"


def _summary(contract: Contract) -> str:
    return (
        f"An image classifier with {len(contract.class_names)} classes, trained with tutelage: generation "
        f"{plain(contract.about['generation'])} of the lineage {plain(contract.about['lineage'])}."
    )


def _input(contract: Contract) -> str:
    normalization = contract.normalization
    mean, std = (f"({', '.join(f'{value:g}' for value in part)})" for part in (normalization.mean, normalization.std))
    resized = f"resize to {normalization.size} x {normalization.size} (bilinear, antialiased), then "
    return (
        f"In: float32 images `[N, {contract.channels}, {contract.height}, {contract.width}]`, "
        f"{'gray' if contract.channels == 1 else 'RGB'}, values from 0 to 1. "
        f"Out: logits `[N, {len(contract.class_names)}]`.\n\n"
        f"Normalization: {resized if normalization.size is not None else ''}(image − mean) / std by channel, with "
        f"mean {mean} and std {std}. It is inside `model.pt2` and `model.onnx`; around the network of "
        "`weights.safetensors` tutelage puts it."
    )


def _front_matter(contract: Contract, license: str) -> str:
    """YAML; JSON strings are YAML strings, so nothing in them can be taken for syntax."""
    about = contract.about
    data = json.dumps(printable(about["data"]["name"]))
    metrics = [
        f"          - {{type: accuracy, name: {part} top-1, value: {measures['top1']:.6f}}}"
        for part, measures in about["measured"].items()
    ]
    lines = [
        f"license: {checked_license(license)}",
        "library_name: tutelage",
        "pipeline_tag: image-classification",
        "tags: [image-classification, knowledge-distillation]",
        "model-index:",
        f"  - name: {json.dumps(printable(contract.model))}",
        "    results:",
        "      - task: {type: image-classification}",
        f"        dataset: {{name: {data}, type: {data}}}",
        "        metrics:",
        *metrics,
    ]
    return "\n".join(["---", *lines, "---"])


def _numbers(measured: dict[str, dict[str, float]], source: Source) -> str:
    rows = ["| set | seeds | " + " | ".join(TITLES.values()) + " |", "|---|---|" + "---|" * len(TITLES)]
    for part, found in measured.items():
        rows.append(f"| {part} | this model | " + " | ".join(_shown(name, [found[name]]) for name in TITLES) + " |")
        if len(source.siblings) > 1:
            every = [model.evaluation()[part] for model in source.siblings]
            cells = [_shown(name, [one[name] for one in every]) for name in TITLES]
            rows.append(f"| {part} | mean ± standard deviation of {len(every)} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _shown(measure: str, values: list[float]) -> str:
    scale, digits = (100, 2) if measure.startswith("top") else (1, 3)
    mean, deviation = spread([scale * value for value in values])
    return f"{mean:.{digits}f}" + ("" if deviation is None else f" ± {deviation:.{digits}f}")


def _classes(names: tuple[str, ...]) -> str:
    more = f", and {len(names) - SHOWN_CLASSES} more in `model.json`" if len(names) > SHOWN_CLASSES else ""
    return "Classes, in the order of the logits: " + ", ".join(map(plain, names[:SHOWN_CLASSES])) + more + "."


def _origin(about: dict[str, Any]) -> str:
    data, versions = about["data"], about["versions"]
    sizes = {"training": data["train_size"], "test": data.get("test_size")}
    images = "".join(f", {size} {kind} images" for kind, size in sizes.items() if size is not None)
    taught = [
        f"- Teacher: {plain(teacher['generation'])}, a {plain(teacher['model'])} ({code(teacher['address'])})."
        for teacher in about["teachers"]
    ]
    return "\n".join(
        [
            f"- Data: {plain(data['name'])}{images}; fingerprint {code(data['fingerprint'][:12])}.",
            f"- Minimised: {code(about['method'])}",
            f"- BatchLoader: {about['epochs']}; seed {about['seed']}; {about['precision']}.",
            *(taught or ["- Teacher: none."]),
            f"- Address: {code(about['address'])}; tutelage {versions['tutelage']}, torch {versions['torch']}.",
        ]
    )


def _use(contract: Contract, files: Mapping[str, Any]) -> str:
    shape = f"1, {contract.channels}, {contract.height}, {contract.width}"
    blocks = ["```sh\ntutelage predict . photo.png\n```"]
    if "weights.safetensors" in files:
        blocks.append(
            "```python\nimport torch\nfrom pathlib import Path\nfrom tutelage.export import open_file\n\n"
            'model = open_file(Path("weights.safetensors"))\n'
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
            "Loading a `.pt2` can run any code in it: only from someone you trust.\n\n"
            '```python\nimport torch\n\nprogram = torch.export.load("model.pt2").module()\n'
            f"logits = program(torch.zeros({shape}))\n```"
        )
    return "\n\n".join(blocks)
