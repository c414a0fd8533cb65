# Every target makes the environment in .venv where it is missing or older than what it is made of.

# The interpreter that .venv is made with: the first that is new enough, unless it is given.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	2>/dev/null && echo $$python && break; done)

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
# One place says which uv: the lock.
UV := $(shell sed -n 's/^\(uv==[^ ]*\).*/\1/p' requirements-dev.txt)

# uv installs into the interpreter at hand and never fetches another one.
export UV_PYTHON_DOWNLOADS := never
export PYTHONPATH := $(CURDIR)/plugins:$(CURDIR)
# What a shell has set for another Airflow or another report has no place in these targets.
unexport AIRFLOW_HOME

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install lock test lint format typecheck browser pytest demo up down bench clean

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

install: $(STAMP)  ## Make the environment in .venv

$(STAMP): requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 to 3.13 found: install one, or name it with" \
		"make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
		{ echo "$(PYTHON) is not Python 3.11 to 3.13: name one with make PYTHON=..." >&2; exit 1; }
	rm -f $@
	@$(BIN)/python -c '' 2>/dev/null || { set -x; $(PYTHON) -m venv --clear $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --compile-bytecode --require-hashes \
		requirements-dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(LOCK_OPTIONS)

lock: $(STAMP)  ## Lock the dependencies of pyproject.toml again (LOCK_OPTIONS=--upgrade: to the newest)
	$(COMPILE) pyproject.toml --output-file requirements.txt
	$(COMPILE) pyproject.toml --group dev --constraint requirements.txt \
		--output-file requirements-dev.txt
	$(COMPILE) --group swift --output-file requirements-swift.txt

test: $(STAMP)  ## Run all linters, type checks and tests
	@$(MAKE) --no-print-directory --jobs 3 lint typecheck pytest

lint: $(STAMP)  ## Check style: Ruff and SQLFluff
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/sqlfluff lint --disable-progress-bar include/sql

typecheck: $(STAMP)
	$(BIN)/mypy

# The tests look at the pages as people do.
browser:
	@command -v chromium >/dev/null || { set -x; apt-get update --quiet=2 && \
		DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes \
		--no-install-recommends chromium >/dev/null; } || { echo "Chromium could not be" \
		"installed: install it as root (Debian's package chromium) and try again" >&2; exit 1; }

pytest: $(STAMP) browser
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

format: $(STAMP)  ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/sqlfluff fix --disable-progress-bar include/sql

demo: $(STAMP)  ## Run last month's report on demo data, through Airflow, and show what it says
	@$(BIN)/python -m demo run

up: $(STAMP)  ## Start Airflow with its user interface on demo data
	@$(BIN)/python -m demo up

down: $(STAMP)  ## Stop what make up has started
	@$(BIN)/python -m demo down

bench: $(STAMP)  ## Measure the pipeline on 10 million events
	$(BIN)/python -m benchmarks

clean:  ## Stop everything and remove the environments, caches and demo data
	@if [ -x $(BIN)/python ] && [ -d .local ]; then $(BIN)/python -m demo down; fi
	rm -rf .local .venv .venv-swift build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
