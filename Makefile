# Everything runs from a fresh clone with Python 3.11 or newer and nothing else installed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
# Test processes at a time; each has servers of its own.
WORKERS ?= 2
export HF_HUB_OFFLINE ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test unit lint format bench clean

help: ## Show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## Make .venv with everything in it (does nothing the second time)

$(STAMP): requirements.lock requirements.in pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Portrait needs Python 3.11 or newer, and \`$(PYTHON)\` is not one: make setup PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
		echo "Cannot make $(VENV): install Python's venv module (on Debian: apt install python3-venv)" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --compile -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(BIN)/python -m compileall -q services feature_repo training migrations
	$(BIN)/python -c 'import services.profiles.recompute' # which compiles its loops, some twenty seconds the first time
	@touch $@

demo: setup ## The whole path on a simulated shop; then open the printed address
	$(BIN)/portrait demo

test: unit ## Every test, against real PostgreSQL and Valkey
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests/contracts tests/integration
	$(BIN)/python -m pytest tests/e2e

unit: setup ## The tests that need no server
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests/unit

lint: setup ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## Put every file into the common format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## Measure every claim in its short version (in full: portrait bench all)
	$(BIN)/portrait bench all --short

clean: ## Remove what was built here; the home (.portrait) stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
