# Featurescope. `make run` needs Python 3.11 or newer and a package index, nothing else. PYTHON= names the interpreter.

PYTHON ?=
export PYTHON
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -q

.PHONY: help setup run test test-web test-workers test-instances test-pages lint types format bench faults lock clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv and install what requirements.lock pins
	@sh scripts/setup.sh

run: setup ## Start everything; Ctrl-C stops it. PORT=8000 and FEATURESCOPE_VAR=var/ can be set
	@exec $(BIN)/python manage.py up

test: setup ## Lint, types, and every test: web without torch, workers on the CPU, pages in Chromium
	@sh scripts/browser.sh
	$(MAKE) --no-print-directory lint types
	OMP_NUM_THREADS=1 $(MAKE) --no-print-directory -k -j2 $(if $(filter output-sync,$(.FEATURES)),-Otarget) test-workers test-web test-instances test-pages

# Two at once, as each has databases of its own and waits for them half of the time. Each computes on one thread: two that wait
# for one another beside two others nearly stand still.
test-web:
	$(PYTEST) --without-torch tests --ignore=tests/workers --ignore=tests/e2e --ignore=tests/faults --ignore=tests/benchmarks

test-workers:
	$(PYTEST) tests/workers

# Each of these starts an instance of its own; the others share one.
INSTANCES := $(addprefix tests/e2e/test_,first_run.py ctrl_c.py redis.py)

test-instances:
	$(PYTEST) $(INSTANCES)

test-pages:
	$(PYTEST) tests/e2e $(addprefix --ignore=,$(INSTANCES))

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
