# Two commands do everything on a machine with Python 3.11 or newer:
#   make study   install, tune PPO on CartPole, report
#   make test    install with every extra, run the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STUDY ?= studies/cartpole-ppo.yaml

# Images like to set this; then each process would compile all that it imports, a quarter of a minute for torch alone.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install install-dev study docs dashboard test test-all faults lint format clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "autorl needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Compiled when first imported, not when installed: all of it takes minutes, and most is never imported.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --no-compile --constraint constraints.txt --editable '.[sb3,dashboard]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	# Apart, for what tests run by itself: Hydra needs another version of antlr4 than the extra stl, and what draws the
	# runs of W&B's sweeps asks for another NumPy, though it does with this one.
	$(PIP) install --quiet --target $(VENV)/programs --upgrade hydra-core==1.3.8
	$(PIP) install --quiet --target $(VENV)/programs --upgrade --no-deps sweeps==0.3.0 jsonref==1.1.0
	@touch $@ $(VENV)/.installed

install: $(VENV)/.installed ## Install into .venv what studies and the dashboard need

install-dev: $(VENV)/.installed-dev ## Install into .venv every extra and the development tools

study: install ## Run the main job: tune on tuning seeds, test on test seeds, report
	$(BIN)/autorl run $(STUDY)

dashboard: install ## Look at the studies in a browser
	$(BIN)/autorl dashboard

docs: install-dev ## Build the documentation as a site, in build/site
	$(BIN)/python docs/site_pages.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file .mkdocs.yml

test: install-dev ## Run the test suite
	$(BIN)/python -m pytest -m "not slow and not faults"

test-all: install-dev ## Run the test suite, with the tests that train for long
	$(BIN)/python -m pytest -m "not faults"

faults: install-dev ## Run the long fault-injection suite, and print its counts
	$(BIN)/python -m pytest -m faults -n 2 -rP tests/faults

lint: install-dev ## Check style, types and structure
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install-dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment and what tools leave behind
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
