# Featurescope. `make run` needs Python 3.11 or newer and a package index, nothing else. PYTHON= names the interpreter.

PYTHON ?=
export PYTHON
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -q

.PHONY: help setup run test test-full checks test-web test-workers test-pages lint types format bench faults lock clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv and install what requirements.lock pins
	@sh scripts/setup.sh

run: setup ## Start everything; Ctrl-C stops it. PORT=8000 and FEATURESCOPE_VAR=var/ can be set
	@exec $(BIN)/python manage.py up

# Tests in two tiers. What is marked `full` takes long and shows again, at size, what a quicker test shows.
TIER ?= -m "not full"
TESTS := $(PYTEST) --durations=10 $(TIER)
TOGETHER := OMP_NUM_THREADS=1 $(MAKE) --no-print-directory -k -j2 $(if $(filter output-sync,$(.FEATURES)),-Otarget)

test: setup ## The gate: lint, types, and each behaviour once; 12 minutes on two cores
	@sh scripts/browser.sh
	@$(TOGETHER) checks test-web; checked=$$?; $(TOGETHER) test-workers test-pages && exit $$checked

test-full: setup ## The gate, and the full-size demo, redis, slow races and one round of faults
	@$(MAKE) --no-print-directory test TIER=; tested=$$?; $(MAKE) --no-print-directory faults && exit $$tested

checks: lint types

# Every process has a PostgreSQL of its own and computes on one thread. The tests of web and domain run where torch cannot be
# imported. Those of pages have processes of their own, because Playwright's event loop stays in a thread for good; they
# mostly wait for their instance.
test-web:
	$(TESTS) --without-torch -n 2 --dist loadfile tests $(addprefix --ignore=tests/,workers e2e faults benchmarks)

test-workers:
	$(TESTS) -n 2 --dist loadfile tests/workers

test-pages:
	$(TESTS) -n 2 --dist loadfile tests/e2e

# Templates are linted, not reformatted: the reformatter breaks lines, and in a heatmap of tokens a blank is content.
lint: setup ## Style, templates, and the rules of who may import whom
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m djlint templates --lint --quiet
	$(BIN)/python $(BIN)/lint-imports --no-logo

types: setup ## Check the types
	$(BIN)/python -m mypy

format: setup ## Put code and templates into shape
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

bench: setup ## Measure; the figures go to the terminal. PARTS="pass peer" measures some
	@$(BIN)/python -m tests.benchmarks $(PARTS)

faults: setup ## Kill, stop, starve and fill real processes, ROUNDS times (1), from round FIRST (0) on
	ROUNDS=$(or $(ROUNDS),1) FIRST=$(or $(FIRST),0) $(PYTEST) tests/faults

# No hosts and no local versions go into the locks: they must install from any index.
COMPILE := $(BIN)/python -m piptools compile --quiet --strip-extras --allow-unsafe --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options
UNLOCAL := sed -i.bak -E 's/^([a-z0-9_.-]+==[^+ ]+)\+[^ ]+/\1/'

lock: setup ## Pin what pyproject.toml asks for, keeping the present pins where they fit (UPGRADE=--upgrade renews them)
	$(COMPILE) $(UPGRADE) --extra worker --extra dev --output-file requirements.lock pyproject.toml
	$(UNLOCAL) requirements.lock
	$(COMPILE) --constraint requirements.lock --output-file requirements-web.lock pyproject.toml
	$(UNLOCAL) requirements-web.lock
	rm -f requirements.lock.bak requirements-web.lock.bak

clean: ## Remove the environment and caches; data in var/ stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
