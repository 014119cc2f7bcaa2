# Everything a newcomer or a machine does here. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
# The first Python of 3.11 or later that starts; `make PYTHON=...` names another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

.PHONY: help setup demo test test-all crash soak services fmt lint types imports docs docs-check examples bench bench-quick wheel ci clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "needs Python 3.11 or later: make PYTHON=/path/to/python3" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.developing: pyproject.toml $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group dev --editable .
	@touch $@

$(VENV)/.benching: pyproject.toml $(VENV)/.developing
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

setup: $(VENV)/.developing ## Make the environment for developing

demo: $(VENV)/.installed ## Run a synthetic market through a whole pipeline, offline
	$(BIN)/mdp demo

# Tests that kill processes, or watch one, mostly wait: they run beside the others. Kernels are
# compiled before, so that not both compile them.
PROCESSES := tests/crash tests/soak
test: $(VENV)/.developing ## Run the tests
	$(BIN)/python -m market_data_pipeline.kernels
	@log=$$(mktemp); code=0; \
	$(BIN)/python -m pytest -q $(PROCESSES) >$$log 2>&1 & lane=$$!; \
	trap "kill $$lane 2>/dev/null || true" INT TERM; \
	$(BIN)/python -m pytest -q $(PROCESSES:%=--ignore=%) || code=$$?; \
	wait $$lane || code=$$?; \
	cat $$log; rm -f $$log; exit $$code

test-all: $(VENV)/.developing ## Run the tests, properties on 20,000 examples each
	MDP_EXAMPLES=20000 $(BIN)/python -m pytest -q --timeout 3600

crash: $(VENV)/.developing ## Kill jobs 500 times for each sink, at every named place, at every I/O call
	PYTHONPATH=tests $(BIN)/python -m crash kills
	PYTHONPATH=tests $(BIN)/python -m crash failpoints
	PYTHONPATH=tests $(BIN)/python -m crash calls --sinks parquet,duckdb,sqlite

soak: $(VENV)/.developing ## Run a live market for 45 minutes and see what it leaves
	PYTHONPATH=tests $(BIN)/python -m soak --minutes 45

services: ## Fetch what the integration tests talk to: PostgreSQL, Prometheus, Chromium
	.ci/services

fmt: $(VENV)/.developing ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .

lint: $(VENV)/.developing ## Check format and rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.developing ## Check types, with mypy and pyright
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

imports: $(VENV)/.developing ## Check the direction of imports
	$(BIN)/lint-imports

docs: $(VENV)/.developing ## Write the parts of the docs that are made from the code
	$(BIN)/python docs/generate.py

docs-check: $(VENV)/.developing ## Check that the docs are current and their code runs
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m pytest -q tests/docs

examples: $(VENV)/.developing ## Run every example
	cd $$(mktemp -d) && for file in $(CURDIR)/examples/[a-z]*.py; do \
		name=$$(basename $$file .py); echo "examples.$$name"; \
		PYTHONPATH=$(CURDIR) $(abspath $(BIN))/python -m examples.$$name; done

bench: $(VENV)/.benching ## Measure us and the peers side by side
	$(BIN)/python -m benchmarks

bench-quick: $(VENV)/.benching ## Check that every benchmark runs and all give the same bars
	$(BIN)/python -m benchmarks --quick

wheel: $(VENV)/.developing ## Build the wheel, install it elsewhere and run it
	rm -rf build dist && $(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	rm -rf $(VENV)-wheel && $(BIN)/python -m venv $(VENV)-wheel
	$(VENV)-wheel/bin/python -m pip install --quiet dist/*.whl
	cd $$(mktemp -d) && $(abspath $(VENV)-wheel)/bin/mdp doctor
	rm -rf $(VENV)-wheel

ci: ## Everything that must pass before a change lands
	$(MAKE) test
	$(MAKE) lint types imports docs-check examples wheel
	$(MAKE) demo
	$(MAKE) bench-quick

clean: ## Remove what was made here
	rm -rf $(VENV) $(VENV)-wheel build dist demo benchmarks/data .pytest_cache .mypy_cache .ruff_cache .hypothesis
