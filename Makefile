# Each target makes what it needs: a virtual environment in .venv, with the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
APT := DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300
INSTALL := $(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check -c constraints.txt
# What pip would do on one core, at the end of an install; files that are not meant to compile are passed over.
COMPILE := $(BIN)/python -m compileall -qq -j 0 .venv/lib || true

# The tests start hundreds of processes; each would compile all modules anew where bytecode is not written.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint ready browser bench torture audit clean

help: ## What there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

.venv/core: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) -e '.[report]'
	$(COMPILE)
	touch $@

.venv/dev: .venv/core
	$(INSTALL) -e '.[dev]'
	$(COMPILE)
	touch $@

demo: .venv/core ## A baseline and a tolerant lineage on 300 digits, two seeds, under two minutes
	$(BIN)/tutelage run baseline --seeds 0 1
	$(BIN)/tutelage run tolerant --seeds 0 1
	$(BIN)/tutelage report

# TUTELAGE_TEST_TIMEOUT=600 gives each test 600 seconds instead of 180, on a slow or busy machine.
test: ready lint ## Everything CI checks
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not torture"

lint: .venv/dev ## Style, types and the floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

ready:
	@$(MAKE) --no-print-directory -j 2 browser .venv/dev

browser: ## A Chromium for the tests of the page, where it can be installed; they are skipped without
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		{ $(APT) install chromium || { $(APT) update && $(APT) install chromium; }; } >/dev/null 2>&1; } || \
		echo "no chromium here: the tests of the page in a browser are skipped"

bench: .venv/dev ## Measured ratios, side by side in one run
	$(BIN)/python -m benchmarks

# The parts end within an hour each on two cores: kills, soak, power, fuzz, rest. TUTELAGE_TORTURE=0.1 tries a tenth.
torture: ready ## Every fault at length, hours in all (PART=kills runs one part); rewrites docs/evidence/faults.md
	$(BIN)/python -m tests.faults.torture $(PART)

audit: ## Known vulnerabilities of the pinned packages, where there is somebody to ask
	@[ -x .venv/audit/bin/pip-audit ] || { $(PYTHON) -m venv .venv/audit && .venv/audit/bin/python -m pip install \
		--quiet --disable-pip-version-check pip-audit==2.10.1; } >/dev/null 2>&1 || true
	@$(PYTHON) -m tests.faults.audit .venv/audit/bin/pip-audit

clean: ## Remove the environment and caches, not the runs
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
