"""Names say what a thing is: few are verbs of hearsay, and none is one of the rooms that the house no longer has."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import tutelage

SOURCE = Path(tutelage.__file__).parent
VERBS = frozenset(
    ["found", "told", "said", "given", "asked", "kept", "made", "heard", "got", "seen", "taken", "wanted"]
)
PER_THOUSAND = 1.0
MODULES = frozenset(
    [
        "outside",
        "provenance",
        "given",
        "surroundings",
        "classroom",
        "job",
        "lesson",
        "taps",
        "left",
        "out",
        "sheets",
        "take_away",
        "imports",
        "on_test",
        "on_teaching",
        "on_training",
        "lines",
        "page_looks",
        "page_parts",
        "page_write",
        "page_more",
        "listen",
        "look",
        "choose",
        "setting",
        "everyday",
        "arms",
        "values",
        "trained",
        "measured",
        "stored",
        "parts",
        "progress",
        "select",
        "views",
        "verbs",
    ]
) - {"progress"}  # cli/progress.py is what a progress bar is called
CLASSES = frozenset(
    [
        "Classroom",
        "Job",
        "Habits",
        "Lesson",
        "Taps",
        "Committee",
        "StoredTeacher",
        "Drawn",
        "Data",
        "Facts",
        "Epochs",
        "Resident",
        "Bound",
        "Standing",
        "Written",
        "Machine",
        "Carried",
        "Line",
        "Title",
        "Curve",
        "Setting",
        "Row",
        "Sheet",
    ]
)


def bound_names(tree: ast.AST) -> Iterator[str]:
    """Every name that a module binds: assignments, loops, arguments, functions, classes, aliases, attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)):
                yield name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text())


def test_names_are_not_verbs_of_hearsay() -> None:
    total, offenders = 0, Counter[str]()
    for path, tree in modules():
        for name in bound_names(tree):
            total += 1
            if VERBS & set(name.lower().strip("_").split("_")):
                offenders[f"{path}: {name}"] += 1
    assert total > 5000
    count = sum(offenders.values())
    assert 1000 * count <= PER_THOUSAND * total, f"{count} of {total}: {sorted(offenders)}"


def test_the_old_rooms_are_gone() -> None:
    for path, tree in modules():
        assert Path(path).stem not in MODULES, path
        classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        assert not classes & CLASSES, path


def test_no_module_is_two_things() -> None:
    lengths = {path: len((SOURCE / path).read_text().splitlines()) for path, _ in modules()}
    assert {path: length for path, length in lengths.items() if length > 250} == {}


def test_two_values_never_come_from_one_generator_expression() -> None:
    """``a, b = (f(x) for x in ...)`` hides which is which."""
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.GeneratorExp):
                tuples = [target for target in node.targets if isinstance(target, ast.Tuple)]
                several = [target for target in tuples if len(target.elts) > 1]
                assert not several, f"{path}:{node.lineno}"
