# Each target makes what it needs: a virtual environment in .venv, with the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test lint bench clean

help: ## What there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

.venv/core: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) -e .
	touch $@

.venv/dev: .venv/core
	$(INSTALL) -e '.[dev]'
	touch $@

demo: .venv/core ## A baseline and a tolerant lineage on 300 digits, two seeds, under two minutes
	$(BIN)/tutelage run baseline --seeds 0 1
	$(BIN)/tutelage run tolerant --seeds 0 1

test: .venv/dev lint ## Everything CI checks
	$(BIN)/python -m pytest -n 2

lint: .venv/dev ## Style, types and the floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/dev ## Measured ratios, side by side in one run
	$(BIN)/python -m benchmarks

clean: ## Remove the environment and caches, not the runs
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
