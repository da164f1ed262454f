# Each target makes what it needs: a virtual environment in .venv, with the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo test lint bench clean

help: ## What there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: .venv/installed ## A baseline and a tolerant lineage on 300 digits, three seeds, under two minutes
	$(BIN)/tutelage run baseline --seeds 0 1 2
	$(BIN)/tutelage run tolerant --seeds 0 1 2

test: .venv/installed lint ## Everything CI checks
	$(BIN)/python -m pytest -n 2

lint: .venv/installed ## Style, types and the floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed ## Measured ratios, side by side in one run
	$(BIN)/python -m benchmarks

clean: ## Remove the environment and caches, not the runs
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
