"""docs/architecture.md: its walks lead from file to file as the imports do, and its tree is the tree."""

from __future__ import annotations

import ast
import importlib
import re
from itertools import pairwise
from pathlib import Path

import pytest

import tutelage
from tutelage import functional

SOURCE = Path(tutelage.__file__).parent
DOCUMENT = Path(__file__).parents[1] / "docs" / "architecture.md"
WALK = re.compile(r"^`[\w/]+\.py`(?: [→←] `[\w/]+\.py`)+$", re.MULTILINE)
WALKS = [match[0] for match in WALK.finditer(DOCUMENT.read_text())]


def module_of(file: str) -> str:
    return "tutelage." + file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def imported(file: str) -> set[str]:
    """The modules that a file imports; for a name that a package passes on, also the module that defines it."""
    modules: set[str] = set()
    tree = ast.parse((SOURCE / file).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "functional":
            modules.add(getattr(functional, node.attr).__module__)
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tutelage"):
            package = importlib.import_module(node.module)
            modules.add(node.module)
            for alias in node.names:
                modules.add(f"{node.module}.{alias.name}")
                modules.add(getattr(getattr(package, alias.name, None), "__module__", ""))
    return modules


def test_there_are_four_walks() -> None:
    assert len(WALKS) == 4


@pytest.mark.parametrize("walk", WALKS)
def test_each_file_of_a_walk_leads_to_the_next(walk: str) -> None:
    files, arrows = re.findall(r"`([\w/]+\.py)`", walk), re.findall("[→←]", walk)
    assert len(files) <= 6
    for file in files:
        assert (SOURCE / file).is_file(), file
    for (one, other), arrow in zip(pairwise(files), arrows, strict=True):
        importer, target = (one, other) if arrow == "→" else (other, one)
        assert module_of(target) in imported(importer), f"{importer} does not import {target}"


def test_the_tree_names_every_package() -> None:
    tree = DOCUMENT.read_text()
    for path in SOURCE.iterdir():
        if path.name.startswith("__") or not (path.is_dir() or path.suffix == ".py"):
            continue
        name = f"{path.name}/" if path.is_dir() else path.name
        assert re.search(rf"(^|[\s|]){re.escape(name)}", tree), f"{name} is not in the tree of {DOCUMENT.name}"
