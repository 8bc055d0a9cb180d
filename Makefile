# Each target builds what it needs. Another interpreter: make test PYTHON=/usr/bin/python3.12
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
LOCK := build/lock
# The weights in it are all that is used: what it asks for is left out (docs/decisions/resemblyzer.md).
WEIGHTS := --no-deps Resemblyzer

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo serve docs test test-heavy check clean lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/dev.stamp ## install affetto with everything for training and development into .venv

demo: $(VENV)/run.stamp ## recognise the emotion in the bundled recordings (installs no extras)
	$(BIN)/affetto recognise src/affetto/demo/*.flac

serve: $(VENV)/serve.stamp ## answer over HTTP on http://127.0.0.1:8000 (more options: SERVE_ARGS=...)
	$(BIN)/affetto serve $(SERVE_ARGS)

docs: $(VENV)/dev.stamp ## build the documentation as a site that needs no network: build/site/index.html
	$(BIN)/python docs/site/make.py

test: $(VENV)/dev.stamp ## run the tests and the examples in the docstrings (more arguments: PYTEST_ARGS=...)
	$(BIN)/python -m pytest -m "not heavy" -n logical --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

test-heavy: $(VENV)/dev.stamp ## run the tests that take minutes: crowds of clients, thousands of damaged files, memory
	$(BIN)/python -m pytest -m heavy tests $(PYTEST_ARGS)

check: $(VENV)/dev.stamp ## lint, formatting, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports

clean: ## remove the environment, the caches and everything built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

lock: ## remake constraints.txt from the newest versions that pyproject.toml allows
	rm -rf $(LOCK)
	$(PYTHON) -m venv $(LOCK)
	$(LOCK)/bin/python -m pip install -e ".[train,dev,docs]"
	$(LOCK)/bin/python -m pip install $(WEIGHTS)
	{ echo "# Exact versions that are known to work together; made by 'make lock', used by the Makefile through pip -c."; \
	  echo "# torch's own accelerator libraries are left out: each build of torch pins them itself."; \
	  $(LOCK)/bin/python -m pip freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//' | grep -vE '^(nvidia-|cuda-|triton)'; \
	} > $(LOCK)/constraints.txt
	mv $(LOCK)/constraints.txt constraints.txt
	rm -rf $(LOCK)

$(VENV)/venv.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "affetto needs Python 3.11 or newer, but '$(PYTHON)' is missing or older; name another: make PYTHON=/path/to/python3" >&2; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run.stamp: $(VENV)/venv.stamp pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/serve.stamp: $(VENV)/venv.stamp pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e ".[serve]"
	@touch $(VENV)/run.stamp $@

$(VENV)/dev.stamp: $(VENV)/venv.stamp pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e ".[train,dev,docs]"
	$(PIP) install -c constraints.txt $(WEIGHTS)
	@touch $(VENV)/run.stamp $(VENV)/serve.stamp $@
