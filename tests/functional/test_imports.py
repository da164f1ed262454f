"""The floor of pure functions pulls in torch and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

from tutelage import functional

PROGRAM = """
import json, sys
import {module}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def top_level_modules(module: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module)], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout)) - set(sys.stdlib_module_names)


def test_functional_imports_torch_and_nothing_else() -> None:
    added = top_level_modules("tutelage.functional") - top_level_modules("torch")
    assert added == {"tutelage"}


def test_every_public_function_is_exported_and_documented() -> None:
    assert sorted(functional.__all__) == functional.__all__
    for name in functional.__all__:
        documentation = getattr(functional, name).__doc__
        assert ">>>" in documentation, name
        assert "Source:" in documentation, name


def test_all_modules_export_their_public_functions() -> None:
    modules = [module for name, module in sys.modules.items() if name.startswith("tutelage.functional.")]
    defined = {
        name
        for module in modules
        if not module.__name__.rpartition(".")[2].startswith("_")
        for name, value in vars(module).items()
        if callable(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert defined == set(functional.__all__)
