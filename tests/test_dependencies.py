"""pyproject.toml declares what src imports: in the core, or in an extra where it is imported only when used."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tutelage
from tutelage.track.selection import TRACKERS

SOURCE = Path(tutelage.__file__).parent
PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
IMPORTED_AS = {
    "scikit-learn": "sklearn",
    "pillow": "PIL",
    "vl-convert-python": "vl_convert",
    "mlflow-skinny": "mlflow",
}


def packages(requirements: list[str]) -> set[str]:
    """The names under which requirements are imported."""
    names = [re.split(r"[<>=!;\[ ]", requirement)[0] for requirement in requirements]
    return {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names}


CORE = packages(PROJECT["dependencies"])
EXTRAS = {
    extra: packages(requirements)
    for extra, requirements in PROJECT["optional-dependencies"].items()
    if extra != "dev"
}


@dataclass(frozen=True)
class Found:
    file: str
    package: str
    at_import: bool
    """Whether it is imported with its module, and not first where a function uses it."""
    extra: str | None = None
    """The extra that the code itself names."""


def imports(file: str, text: str) -> Iterator[Found]:
    """What a file imports from outside of Python and of tutelage."""
    tree = ast.parse(text)
    late = {id(node) for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) for node in ast.walk(each)}
    for_types = [
        each for each in ast.walk(tree) if isinstance(each, ast.If) and "TYPE_CHECKING" in ast.unparse(each.test)
    ]
    late |= {id(node) for each in for_types for node in ast.walk(each)}
    for node in ast.walk(tree):
        names: list[str] = []
        extra = None
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "import_optional")):
            literals = [str(each.value) if isinstance(each, ast.Constant) else None for each in node.args]
            names = [literals[0]] if literals[0] is not None else []
            extra = literals[1] if ast.unparse(node.func).endswith("import_optional") else None
        for name in names:
            package = name.partition(".")[0]
            if package not in sys.stdlib_module_names and package != "tutelage":
                yield Found(file=file, package=package, at_import=id(node) not in late, extra=extra)


@pytest.fixture(scope="module")
def all_imports() -> list[Found]:
    return [
        found
        for path in sorted(SOURCE.rglob("*.py"))
        for found in imports(str(path.relative_to(SOURCE)), path.read_text(encoding="utf-8"))
    ]


def problem(found: Found) -> str | None:
    """Why an import is not covered by what pyproject.toml declares."""
    where = f"{found.file} imports {found.package}"
    tracker = Path(found.file).stem if Path(found.file).parent.name == "track" else ""
    in_extras = {extra for extra, names in EXTRAS.items() if found.package in names}
    if found.extra is not None:
        return None if found.extra in in_extras else f"{where}, which the extra {found.extra} does not install"
    if found.package in CORE:
        return None
    if not in_extras:
        return f"{where}, which is no dependency"
    if found.at_import and TRACKERS.get(tracker) not in in_extras:
        return f"{where} whenever it is imported, and only {', '.join(in_extras)} installs that"
    return None


def test_what_is_imported_is_declared(all_imports: list[Found]) -> None:
    assert len({found.package for found in all_imports}) > 10
    assert [text for text in map(problem, all_imports) if text] == []


def test_what_is_declared_is_imported(all_imports: list[Found]) -> None:
    assert CORE - {found.package for found in all_imports} == set()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import joblib", "imports joblib, which is no dependency"),
        ("def f():\n    from joblib import dump", "imports joblib, which is no dependency"),
        ("import onnx.helper", "imports onnx whenever it is imported, and only export"),
        ("import_optional('onnx', 'report', 'x')", "imports onnx, which the extra report does not install"),
        ("import importlib\nimportlib.import_module('joblib')", "imports joblib, which is no dependency"),
    ],
)
def test_what_is_not_declared_is_noticed(text: str, says: str) -> None:
    (found,) = imports("made.py", text)
    assert says in (problem(found) or "")


@pytest.mark.parametrize(
    "text", ["import os, tutelage.data", "from . import x", "def f():\n    import onnx", "import torch.nn"]
)
def test_what_is_declared_is_no_problem(text: str) -> None:
    assert not any(map(problem, imports("made.py", text)))


def test_the_version_and_who_wrote_it() -> None:
    assert tutelage.__version__ == importlib.metadata.version("tutelage") == PROJECT["version"]
    assert PROJECT["authors"] == [{"name": "the tutelage developers"}]
    licences = [line for line in PROJECT["classifiers"] if line.startswith("License")]
    assert licences == []  # with a licence expression, a classifier of it is an error


def test_an_unknown_attribute_is_none() -> None:
    with pytest.raises(AttributeError, match="has no attribute '__author__'"):
        _ = tutelage.__author__
