# `make help` lists what there is. Every target sets up what it needs; nothing has to be activated.

.DEFAULT_GOAL := help
.PHONY: help setup run serve-ui test check format bench bench-quick smoke lock clean

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.set-up
# A Python of 3.11 or newer: `make PYTHON=/path/to/python3.12 run` takes another than the first one found.
PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11 python,$(if $(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo yes),$(name))))
# What pip is given for torch; a version, or a version with options, e.g. TORCH='torch==2.13.0 --index-url ADDRESS'.
TORCH ?= torch==2.13.0
# Keep the servers up after `make run`: KEEP=1.
KEEP ?=
# Further options for pytest: ARGS='-k beam -x', or ARGS='-n 0' for one process and prints at once.
ARGS ?=

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make the virtual environment .venv and install everything into it

run: $(STAMP) ## Start Prefect, MLflow and a worker, run the demo, show its results (KEEP=1 leaves the servers up)
	@$(PY) -m tasks.local_stack run $(if $(KEEP),--keep)

serve-ui: $(STAMP) ## Start Prefect, MLflow and a worker and keep them up until Ctrl-C
	@$(PY) -m tasks.local_stack serve

test: $(STAMP) ## Run all tests, doctests of the core included
	$(PY) -m pytest tests jtm_core tasks --doctest-modules -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(STAMP) ## Lint, format, types, import contracts, architecture
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) -m pytest tests/architecture -q

format: $(STAMP) ## Format the code and mend what ruff can mend
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

smoke: $(STAMP) ## Prove the real server path in a temporary folder
	@$(PY) -m tasks.local_stack smoke

bench: $(STAMP) ## Run all benchmarks (about 20 minutes) and write benchmarks/results/
	@$(PY) -m benchmarks; code=$$?; $(PY) -m benchmarks.tables; exit $$code

bench-quick: $(STAMP) ## Print the main figures, one JSON object a line (under a minute)
	@$(PY) -m benchmarks --quick

lock: $(STAMP) ## Resolve requirements.in into requirements.lock again
	$(VENV)/bin/uv pip compile requirements.in --upgrade --universal --python-version 3.11 --fork-strategy fewest --no-annotate --no-header --quiet -o requirements.lock

clean: ## Remove the virtual environments, compiled kernels and caches; .jtm with its data stays
	rm -rf $(VENV) .venv-pecos jtm_core/__pycache__ .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# torch goes first and never comes from the lock, as its plain wheel for Linux draws in gigabytes of CUDA libraries:
# a wheel at hand (pip's find-links), else uv's CPU build, else whatever the package index has.
$(STAMP): requirements.lock
	@test -n "$(PYTHON)" || { echo "JTM needs Python 3.11 or newer and found none; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "JTM needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No virtual environment could be made; on Debian and Ubuntu install python3-venv"; exit 1; }
	@echo "Installing into $(VENV) (once; a minute or two) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check uv
	@$(PY) -c 'import torch' 2>/dev/null \
		|| { test "$(origin TORCH)" = file && { $(PY) -m pip install --quiet --disable-pip-version-check --no-index --no-deps $(TORCH) 2>/dev/null \
		|| UV_HTTP_RETRIES=1 $(VENV)/bin/uv pip install --quiet --python $(PY) --torch-backend cpu $(TORCH) 2>/dev/null; }; } \
		|| $(PY) -m pip install --quiet --disable-pip-version-check $(TORCH)
	@$(VENV)/bin/uv pip install --quiet --python $(PY) --compile-bytecode -r requirements.lock \
		|| { echo "uv could not install the lock; trying pip ..."; $(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock; }
	@$(PY) -m pip install --quiet --disable-pip-version-check $(TORCH)
	@touch $(STAMP)
