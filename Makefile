# perdure. `make` prints what there is to make.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# make simulate SEEDS=2000 FIRST=0, SEED=123 for one of them with its trace, LEVEL=3 for bad weather,
# MUTANTS=1 to see every mutant found.
SIMULATE = $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FIRST),--first $(FIRST)) \
	$(if $(LEVEL),--level $(LEVEL)) $(if $(MUTANTS),--mutants)

VENV := .venv
BIN := $(VENV)/bin
TOOLS := .tools/bin
# Exported recipes see the environment's tools and the nats CLI first.
export VENV
export PATH := $(CURDIR)/$(BIN):$(CURDIR)/$(TOOLS):$(PATH)

# Most tests wait for processes, so more of them run than there are cores; a file stays together.
PARALLEL ?= -n 4 --dist loadfile

# The whole run: what needs the machine for itself goes first, alone.
ALL = PERDURE_TEST_ALL=1 PYTHONPATH=scripts $(BIN)/pytest -p check_skips --session-timeout=1500

# More arguments for pytest (test, test-all) or for the command (demo, dev, bench, simulate).
ARGS ?=

INSTALLED := $(VENV)/.installed
TESTABLE := $(VENV)/.installed-test
INPUTS := pyproject.toml .python-version scripts/install.sh scripts/find_python.sh

.PHONY: help install demo test test-all lint dev bench simulate docs demo-temporal clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with perdure, its services and an embedded nats-server
	@echo "Installed in $(VENV): try 'make demo' or '$(BIN)/perdure --help'"

$(INSTALLED): $(INPUTS)
	@scripts/install.sh $@ dev

$(TESTABLE): $(INPUTS)
	@scripts/install.sh $@ all,test

demo: $(INSTALLED) ## Run a durable workflow from start to end, with an embedded nats-server
	@$(BIN)/python examples/demo.py $(ARGS)

test: $(TESTABLE) ## Run the tests that fit into ten minutes
	@$(BIN)/pytest $(PARALLEL) -m "not slow" --session-timeout=600 $(ARGS)

test-all: $(TESTABLE) ## Run every test; a skip that tests/allowed_skips.txt doesn't list fails
	@scripts/install_nats_cli.sh
	@scripts/install_old_nats_server.sh
	@failed=0; \
	$(ALL) -m cluster $(ARGS) || failed=$$?; \
	$(ALL) -m "not cluster" $(PARALLEL) $(ARGS) || failed=$$?; \
	exit $$failed

lint: $(TESTABLE) ## Check format, style, types and the direction of imports
	@scripts/lint.sh

dev: $(INSTALLED) ## Run every service in one process with an embedded nats-server
	@$(BIN)/perdure dev $(ARGS)

bench: $(TESTABLE) ## Measure latency and throughput
	@scripts/run_if_there.sh bench benchmarks/run.py $(ARGS)

simulate: $(TESTABLE) ## Look for lost and doubled work in simulated crashes
	@scripts/run_if_there.sh simulate tests/simulation/run.py $(SIMULATE) $(ARGS)

docs: $(TESTABLE) ## Build the documentation
	@scripts/run_if_there.sh docs docs/build.py $(ARGS)

demo-temporal: $(TESTABLE) ## Run the demo's workflow on Temporal
	@scripts/run_if_there.sh demo-temporal examples/demo_temporal.py $(ARGS)

clean: ## Remove .venv, .tools and everything that tools left behind
	@scripts/clean.sh
