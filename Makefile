# Holdfast: `make up` runs a cluster, `make test` checks everything; both do their own set-up.
#
# Rules: needs only Python 3.11+ (with its venv module) and make. Everything is installed into
# .venv, again whenever pyproject.toml changed. What installs or explains speaks on standard error,
# so that `make bench-json` has standard output to itself.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

ARGS ?=
SEEDS ?= 300
FIRST ?= 0
STATES ?= 20000
# One more than there are cores: tests of real processes mostly wait.
TEST_WORKERS ?= $(shell echo $$(( $$(nproc 2>/dev/null || echo 2) + 1 )))

.PHONY: help up test lint types tests sim model crash powercut nemesis mutants bench bench-json compose-test clean

help:  ## List these commands
	@echo "Holdfast. Usage: make COMMAND"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(VENV)/installed  ## Run a three-node cluster in the foreground on 127.0.0.1:7070 (ARGS="--nodes 5")
	@exec $(BIN)/holdfast serve $(ARGS)

test: lint types tests  ## Check everything: ruff, mypy --strict, all tests

lint: $(VENV)/installed-test
	@echo "== ruff: style and likely mistakes" >&2
	@$(BIN)/ruff check .

types: $(VENV)/installed-test
	@echo "== mypy --strict: types" >&2
	@$(BIN)/mypy

tests: $(VENV)/installed-test
	@echo "== pytest: all tests (ARGS=... is passed on)" >&2
	@$(BIN)/pytest -q --numprocesses=$(TEST_WORKERS) --maxprocesses=4 --dist=worksteal $(ARGS)

sim: $(VENV)/installed-test  ## Simulate SEEDS=300 clusters from FIRST=0 on; fails when a seed is red
	@$(BIN)/python -m tests.sim --seeds $(SEEDS) --first $(FIRST) $(ARGS)

model: $(VENV)/installed-test  ## Explore every interleaving of small scenarios (ARGS="NAME")
	@$(BIN)/python -m tests.model $(ARGS)

crash: $(VENV)/installed-test  ## Start stores from STATES=20000 power cuts, each where one can fall
	@HOLDFAST_CRASH_STATES=$(STATES) $(BIN)/pytest -q --numprocesses=$(TEST_WORKERS) \
	    --maxprocesses=4 --dist=worksteal tests/node -k "crash" $(ARGS)
	@$(BIN)/python -m tests.powercut || { status=$$?; [ $$status -eq 2 ] && \
	    echo "== left out for that: power cuts on a real file system" >&2 || exit $$status; }

powercut: $(VENV)/installed-test  ## Cut the power on real ext4, kill -9, break the disk (needs root)
	@$(BIN)/python -m tests.powercut $(ARGS)

nemesis: $(VENV)/installed-test  ## Random faults on real processes (needs root; ARGS="--seed 7 --seconds 300")
	@$(BIN)/python -m tests.nemesis $(ARGS)

mutants: $(VENV)/installed-test  ## Plant known bugs; fails when the tests miss one
	@$(BIN)/python -m tests.mutants $(ARGS)

bench: $(VENV)/installed-test  ## Measure speed and memory beside limits of the same run (needs wrk)
	@$(BIN)/python -m bench $(ARGS)

bench-json: $(VENV)/installed-test  ## The same as a JSON list, alone on standard output
	@$(BIN)/python -m bench --json $(ARGS)

compose-test: $(VENV)/installed-test  ## Run deploy/compose.yaml on a real Docker Engine and kill a node
	@$(BIN)/python deploy/compose_test.py $(ARGS)

clean:  ## Remove what was installed, built and cached; never the data in holdfast-data
	@rm -rf $(VENV) build dist out *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up ---------------------------------------------------------------------------------------

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "There is no '$(PYTHON)' here. On Debian: apt-get install python3 python3-venv" >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Holdfast needs Python 3.11 or later; this is $$($(PYTHON) --version)." >&2; \
	    echo "Name another one with: make PYTHON=/path/to/python3.11 ..." >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "This Python cannot make virtual environments." >&2; \
	    echo "On Debian: apt-get install python3-venv, then run make again." >&2; \
	    exit 1; }
	@echo "== making a virtual environment in $(VENV)" >&2
	@$(PYTHON) -m venv --clear $(VENV) >&2 || { rm -rf $(VENV); exit 1; }

$(VENV)/installed: pyproject.toml | $(BIN)/python
	@echo "== installing Holdfast into $(VENV)" >&2
	@$(PIP) install --editable . >&2
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	@echo "== installing what the tests need into $(VENV)" >&2
	@$(PIP) install --editable '.[test]' >&2
	@touch $@
