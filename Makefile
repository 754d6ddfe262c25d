# Everything runs in .venv, which is made on first use: only python3 (3.10 or newer) and make are needed.
# pip's own settings are honored: PIP_INDEX_URL and PIP_EXTRA_INDEX_URL choose, for instance, torch's CPU build.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
PIP    := $(BIN)/python -m pip --disable-pip-version-check -qq
ARGS   ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help .venv demo test test-all check format bench docs clean

help:  ## this overview
	@echo "make TARGET, one of:"
	@sed -n 's/^\([a-z.-]*\):.*  ## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "  %-10s %s\n", $$1, $$2 }'
	@echo "ARGS is passed on, for instance: make test ARGS='-k options -x'"

.venv: $(VENV)/.dev  ## the environment with the package, the demo and the developer's tools

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "sinwave needs Python 3.10 or newer: make PYTHON=python3.12 ...")'
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing the package; torch is large, so this takes a few minutes the first time"
	@$(PIP) install --constraint constraints.txt --editable '.[demo]'
	@$(BIN)/python -m compileall -qq src  # which pip leaves to the first command of an editable package
	@touch $@

$(VENV)/.docs: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing the generator of the site"
	@$(PIP) install --constraint constraints.txt --editable '.[docs]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "installing the developer's tools"
	@$(PIP) install --constraint constraints.txt --editable '.[demo,dev]'
	@touch $@

demo: $(VENV)/.demo  ## generate from a photograph in the public domain and say where to look
	@$(BIN)/sinwave demo $(ARGS)

test: $(VENV)/.dev  ## the fast tests, in two processes
	@$(BIN)/python -m pytest --numprocesses 2 -m "not slow" $(ARGS)

test-all: $(VENV)/.dev  ## every test, with the report of what they cover
	@$(BIN)/python -m pytest --numprocesses 2 --cov=sinwave $(ARGS)

check: $(VENV)/.dev  ## format, lint, types and floors
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev  ## put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.dev  ## the figures of docs/notes/benchmarks.md
	@$(BIN)/python benchmarks/closed_form.py $(ARGS)

docs: $(VENV)/.docs  ## the site of the documentation, into the folder site
	@$(BIN)/mkdocs build --strict --quiet

clean:  ## remove the environment and every cache
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage build dist site
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
