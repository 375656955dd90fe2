# Works from a fresh clone with nothing but Python 3.11 or newer: the first target that needs a
# virtual environment makes it. VENV and PYTHON may be given, e.g. `make test VENV=/path/to/venv`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV ?= .venv
RUN_DIR ?= runs/demo
WORKERS ?= 2
PYTEST_ARGS ?=
BENCHES ?= training loader scan length head
# twice quiet: errors only; `make test PIP_ARGS=` shows what pip does
PIP_ARGS ?= --quiet --quiet

BIN := $(VENV)/bin
PY := $(BIN)/python
PIP_INSTALL := $(PY) -m pip install $(PIP_ARGS) --disable-pip-version-check -c constraints.txt
CORE := $(VENV)/.installed-core
DEV := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs
# notebooks of the site that run: all (those that changed), quick (one), off
NOTEBOOKS ?= all
# one thread a worker: the tests are small, and workers that share cores only get in each other's way
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -q -n $(WORKERS) $(PYTEST_ARGS)

.PHONY: help demo docs lock pretrained test test-all faults mutants processors pretended gpu lint types \
  format bench wheel clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(PY):
	@command -v "$(PYTHON)" > /dev/null || { \
	  echo "no $(PYTHON) on PATH; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$("$(PYTHON)" --version 2>&1), but dnamdlm needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; }
	@echo "making a virtual environment in $(VENV)"
	@"$(PYTHON)" -m venv "$(VENV)"

$(CORE): pyproject.toml constraints.txt | $(PY)
	@echo "installing dnamdlm into $(VENV); a minute or more, most of it for torch"
	@$(PIP_INSTALL) -e .
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(PY)
	@echo "installing dnamdlm and the developers' tools into $(VENV); a minute or more, most of it for torch"
	@$(PIP_INSTALL) -e '.[dev]'
	@touch $@ $(CORE)

demo: $(CORE) ## train on the yeast genome, sample, evaluate and write a report (about 5 minutes)
	$(PY) -m dnamdlm.train config=demo run_dir=$(RUN_DIR)
	$(PY) -m dnamdlm.sample model=$(RUN_DIR) num_sequences=64 length=512 seed=7 sampler.num_steps=64 out=$(RUN_DIR)/samples.fa
	$(PY) -m dnamdlm.evaluate model=$(RUN_DIR) split=test mixture=copies
	$(PY) -m dnamdlm.judge model=$(RUN_DIR) samples=$(RUN_DIR)/samples.fa
	$(PY) -m dnamdlm.report run_dir=$(RUN_DIR)

pretrained: demo ## make the model of the package, yeast-demo, from the demo
	rm -rf dnamdlm/pretrained/yeast-demo
	$(PY) -m dnamdlm.export model=$(RUN_DIR) out=dnamdlm/pretrained/yeast-demo license=apache-2.0

$(DOCS): pyproject.toml constraints.txt | $(PY)
	@echo "installing dnamdlm and what builds the site into $(VENV)"
	@$(PIP_INSTALL) -e '.[docs]'
	@touch $@ $(CORE)

docs: $(DOCS) ## build the site into build/site; its notebooks take about ten minutes the first time
	PATH="$(abspath $(BIN)):$$PATH" DOCS_NOTEBOOKS=$(NOTEBOOKS) \
	  $(PY) -m sphinx -q -W --keep-going -b html docs build/site
	@echo "wrote build/site/index.html"

test: $(DEV) ## run the tests that take seconds
	$(PYTEST) -m "not slow and not faults"

test-all: $(DEV) ## run every test, the slow ones too
	$(PYTEST)

faults: $(DEV) ## break training and saving in every way that the tests know (about 10 minutes)
	$(PYTEST) tests/faults

mutants: $(DEV) ## apply one-line faults to a copy of the sources; the tests must notice each (minutes)
	$(PY) -m tests.mutants.run_mutants --workers $(WORKERS)

processors: $(DEV) ## run the numerical tests as other processors would compute them (ten minutes)
	$(PY) -m tests.processors --workers $(WORKERS) $(PYTEST_ARGS)

pretended: $(DEV) ## run training, sampling and commands on a pretended GPU (about a minute)
	$(PYTEST) tests/gpu

gpu: $(DEV) ## prove on the GPU of this machine what is promised, and measure it (ten minutes)
	$(PY) -m benchmarks.gpu

lint: $(DEV) ## check style, spelling and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports --no-logo --no-cache

types: $(DEV) ## check the types
	$(BIN)/pyright --pythonpath $(PY)

format: $(DEV) ## format the sources and fix what can be fixed
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(CORE) ## measure training and loading speed on this machine
	@for name in $(BENCHES); do echo "== $$name"; $(PY) -m "benchmarks.speed.$$name"; done

lock: ## write packaging/requirements.lock with the hashes of all files (needs uv and a network)
	head -n 3 packaging/requirements.lock > packaging/.lock
	uv pip compile pyproject.toml -c constraints.txt --generate-hashes --no-annotate --no-header \
	  --python-version 3.11 --python-platform x86_64-manylinux_2_28 -q >> packaging/.lock
	mv packaging/.lock packaging/requirements.lock

wheel: $(DEV) ## build the wheel into dist/
	$(PY) -m build --wheel --no-isolation

clean: ## remove the virtual environment and everything that was built; runs/ stays
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find dnamdlm data_prep benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +
