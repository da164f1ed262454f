"""Files made of what was trained: the report, the exported model, and predictions with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tutelage import storage
from tutelage.analysis import compare, load_results
from tutelage.analysis.statistics import PairedTest
from tutelage.errors import unknown
from tutelage.paths import runs_folder
from tutelage.study import studies

if TYPE_CHECKING:
    from tutelage.export import ExportResult
    from tutelage.export.formats import Format


class Prediction(NamedTuple):
    """The best classes of one image with their probabilities, the best first."""

    image: Path
    classes: tuple[tuple[str, float], ...]


def report(
    *names: str,
    out: str | Path | None = None,
    test: PairedTest = "t",
    confidence: float = 0.95,
    diagnostics: bool = False,
    trust: bool = False,
    runs: str | Path | None = None,
    on_file: Callable[[Path], None] = lambda path: None,
) -> tuple[Path, ...]:
    """Write one HTML page of runs, and the comparison of each as Markdown and CSV: ``tutelage report``.

    ``names`` are those of runs in the folder of ``runs``, the newest by default; the files go to the folder ``out``,
    by default ``reports`` in that folder. Returns the files in the order in which they are written.

    Errors: ``ValueError`` for a run that does not exist, for code outside tutelage that would have to be imported
    without ``trust``, and, after Markdown and CSV are written, for a package that the page needs.

    >>> import tempfile, tutelage
    >>> runs = tempfile.mkdtemp()
    >>> results = tutelage.run("baseline", epochs=1, train_size=20, runs=runs)
    >>> [path.suffix for path in report(runs=runs)]
    ['.md', '.csv', '.html']
    """
    from tutelage.analysis.published import compare_published
    from tutelage.report.comparison import comparison_csv, comparison_markdown
    from tutelage.report.page.build import page, sections_of
    from tutelage.report.published import published_markdown

    folder = runs_folder() if runs is None else Path(runs)
    known = studies(folder)
    if not known:
        raise ValueError(f"there is no run to report on: {folder} holds none yet")
    chosen = list(dict.fromkeys(names or known[:1]))
    for name in chosen:
        if name not in known:
            raise unknown("run", name, known)
    target = folder / "reports" if out is None else Path(out)
    if target.exists() and not target.is_dir():
        raise ValueError(f"{target} is a file: expected a folder to write")
    comparisons = {
        name: compare(load_results(name, folder, trust=trust), confidence=confidence, test=test) for name in chosen
    }
    written: list[Path] = []

    def write(name: str, text: str) -> None:
        content = text.encode("utf-8", "backslashreplace")
        if out is None:
            storage.write_bytes(target / name, content)
        else:
            storage.write_output(target / name, content)
        written.append(target / name)
        on_file(target / name)

    for name, comparison in comparisons.items():
        parts = comparison_markdown(comparison), published_markdown(compare_published(comparison.results))
        write(f"{name}.md", "\n".join(filter(None, parts)))
        write(f"{name}.csv", comparison_csv(comparison))
    more = f"-and-{len(chosen) - 1}-more" if len(chosen) > 1 else ""
    write(f"{chosen[0]}{more}.html", page(comparisons, sections_of(len(comparisons), diagnostics)))
    return tuple(written)


def export(
    model: str,
    *,
    to: str | Path | None = None,
    formats: Sequence[Format] = ("safetensors", "torch", "onnx"),
    license: str = "unknown",
    trust: bool = False,
    runs: str | Path | None = None,
) -> ExportResult:
    """Write a trained model to a folder in the formats people deploy: ``tutelage export``.

    ``model`` is ``RUN``, ``RUN:generation`` or ``RUN:generation:seed``, a model's address or the beginning of one, or
    its folder; ``to`` is ``exported/<network>-<address>`` by default. Each format is read back and compared with the
    checkpoint on images before anything is written; the largest differences are in the result.

    Errors: ``ValueError`` for a model that does not exist, a folder that holds something else, and a network that
    cannot be exported.

    >>> import tempfile, tutelage
    >>> runs = Path(tempfile.mkdtemp())
    >>> results = tutelage.run("baseline", epochs=1, train_size=20, runs=runs)
    >>> exported = export(results.name, to=runs / "student", formats=["safetensors"], runs=runs)
    >>> exported.files, exported.differences["weights.safetensors"] < 1e-4
    (('weights.safetensors', 'README.md', 'model.json'), True)
    """
    from tutelage.export import export_model, find_model

    source = find_model(model, runs_folder() if runs is None else Path(runs))
    if to is None:
        network = re.sub(r"[^A-Za-z0-9_]+", "-", source.model.network_name().rpartition("/")[2])
        to = Path("exported") / f"{network}-{source.model.address[:8]}"
    return export_model(source, Path(to), tuple(formats), license=license, trust=trust)


def predict(
    model: str | Path,
    *images: str | Path,
    top: int = 5,
    trust: bool = False,
    runs: str | Path | None = None,
) -> Iterator[Prediction]:
    """Classify image files: ``tutelage predict``.

    ``model`` is an exported folder or one of its files, or what :func:`export` takes. The model is loaded at once;
    images are read in batches as the predictions are asked for, one for each image in order.

    Errors: ``ValueError`` for a model that does not exist, that needs ``trust`` or lacks a package, and for a file
    that is no image; ``storage.Damaged`` for files that were altered.

    >>> import tempfile, tutelage
    >>> from PIL import Image
    >>> runs = Path(tempfile.mkdtemp())
    >>> results = tutelage.run("baseline", epochs=1, train_size=20, runs=runs)
    >>> Image.new("L", (8, 8)).save(runs / "digit.png")
    >>> (prediction,) = predict(results.name, runs / "digit.png", top=2, runs=runs)
    >>> prediction.image.name, len(prediction.classes)
    ('digit.png', 2)
    """
    from tutelage.export import classify, load_model

    if not images:
        raise ValueError("predict needs images")
    loaded = load_model(str(model), runs_folder() if runs is None else Path(runs), trust=trust)
    predictions = classify(loaded, [Path(image) for image in images], top)
    return (Prediction(path, tuple(best)) for path, best in predictions)
